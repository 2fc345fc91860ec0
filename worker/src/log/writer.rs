//! The writer thread of the log. Only this thread waits for the sink.
//!
//! A sink that blocks delays this thread alone; a sink that fails loses the lines of one write,
//! which are counted. When it accepts lines again, a log line reports the number of lost lines.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue::{Queue, Unreported};
use super::repeats::Repeats;

/// Largest piece of one write, bytes: the most that one failure loses.
const PIECE: usize = 64 << 10;
/// Time between two lines about dropped lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Interval of checks for repeats and dropped lines, while there are any.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Pause before a non-blocking sink is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// See the module.
pub(super) struct Writer<W> {
    queue: Arc<Queue>,
    repeats: Arc<Repeats>,
    sink: W,
    /// `true` if the last write succeeded.
    works: bool,
    /// `true` if the sink has the beginning of a line, but not its end.
    is_torn: bool,
    reported: Option<Instant>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(queue: Arc<Queue>, repeats: Arc<Repeats>, sink: W) -> Self {
        Self { queue, repeats, sink, works: true, is_torn: false, reported: None }
    }

    /// Writes until the process ends.
    pub(super) fn run(mut self) {
        self.queue.is_written_here();
        let mut spare = Vec::new();
        loop {
            spare = self.step(spare);
        }
    }

    /// Waits for work, and does it. Takes and returns an empty buffer.
    fn step(&mut self, spare: Vec<u8>) -> Vec<u8> {
        let has_timers = self.repeats.are_pending() || !self.queue.unreported().is_empty();
        let next = self.queue.next(spare, has_timers.then_some(CHECK_INTERVAL));
        let mut buffer = next.lines;
        self.write(&buffer);
        self.repeats.report(Instant::now(), next.flush);
        self.report_dropped(next.flush);
        if next.flush {
            self.queue.complete();
        }
        // The memory of a flood is freed.
        if buffer.capacity() > PIECE {
            return Vec::new();
        }
        buffer.clear();
        buffer
    }

    /// Writes whole lines, and counts those that the sink refuses.
    fn write(&mut self, mut lines: &[u8]) {
        while !lines.is_empty() {
            let (piece, rest) = lines.split_at(end_of_piece(lines));
            self.works = match self.write_piece(piece) {
                Ok(()) => true,
                Err(written) => {
                    self.queue.failed(piece.get(written..).unwrap_or_default());
                    false
                }
            };
            lines = rest;
        }
    }

    /// The error is the number of bytes that the sink accepted.
    fn write_piece(&mut self, piece: &[u8]) -> Result<(), usize> {
        if self.is_torn {
            put(&mut self.sink, b"\n").map_err(|_| 0_usize)?;
            self.is_torn = false;
        }
        put(&mut self.sink, piece).inspect_err(|written| {
            self.is_torn = *written > 0 && piece[..*written].last() != Some(&b'\n');
        })
    }

    /// Reports the number of dropped lines, if the sink accepts lines again.
    fn report_dropped(&mut self, at_once: bool) {
        let unreported = self.queue.unreported();
        let is_due =
            at_once || self.reported.is_none_or(|reported| reported.elapsed() >= REPORT_INTERVAL);
        if unreported.is_empty() || !is_due {
            return;
        }
        if !self.works && put(&mut self.sink, b"\n").is_err() {
            return;
        }
        (self.works, self.is_torn, self.reported) = (true, false, Some(Instant::now()));
        let Unreported { full, failed } = unreported;
        tracing::warn!(
            queue_full = full,
            write_failed = failed,
            "{} log lines before this one were dropped",
            full + failed
        );
        self.queue.reported(unreported);
    }
}

/// Returns the length of the first piece of `lines`: whole lines up to [`PIECE`], or one longer
/// line.
fn end_of_piece(lines: &[u8]) -> usize {
    let end_of = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
    if lines.len() <= PIECE {
        return lines.len();
    }
    let first = || lines.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
    end_of(&lines[..PIECE]).or_else(first).unwrap_or(lines.len())
}

/// Writes all of `bytes`; the error is the number of bytes written before the failure.
fn put(sink: &mut impl Write, bytes: &[u8]) -> Result<(), usize> {
    let mut written = 0;
    while written < bytes.len() {
        match sink.write(&bytes[written..]) {
            Ok(0) => return Err(written),
            Ok(more) => written += more,
            Err(error) => retry(&error).ok_or(written)?,
        }
    }
    Ok(())
}

/// Returns `Some` if the write must be retried, after a pause if needed.
fn retry(error: &io::Error) -> Option<()> {
    match error.kind() {
        ErrorKind::Interrupted => Some(()),
        // Another process with the same pipe has set it to non-blocking.
        ErrorKind::WouldBlock => {
            std::thread::sleep(RETRY_PAUSE);
            Some(())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// A device with a limited capacity left.
    #[derive(Default, Clone)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Disk {
        fn with_room(room: usize) -> Self {
            Self(Arc::new(Mutex::new((Vec::new(), room))))
        }

        fn set_room(&self, room: usize) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = room;
        }

        fn text(&self) -> String {
            let disk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8_lossy(&disk.0).into_owned()
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = bytes.len().min(disk.1);
            if fits == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            disk.0.extend_from_slice(&bytes[..fits]);
            disk.1 -= fits;
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn writer(disk: &Disk) -> (Arc<Queue>, Writer<Disk>) {
        let queue = Arc::new(Queue::default());
        (queue.clone(), Writer::new(queue, Arc::default(), disk.clone()))
    }

    #[test]
    fn full_disk_counts_lost_lines_and_ends_the_torn_one() {
        let disk = Disk::with_room(6);
        let (queue, mut writer) = writer(&disk);
        queue.push(b"one\ntwo\nthree\n");
        writer.step(Vec::new());
        assert_eq!(queue.unreported(), Unreported { full: 0, failed: 2 });
        disk.set_room(100);
        queue.push(b"four\n");
        writer.step(Vec::new());
        assert_eq!(disk.text(), "one\ntw\nfour\n");
        assert!(queue.unreported().is_empty(), "reported");
    }

    #[test]
    fn pieces_end_with_whole_lines() {
        let line = [vec![b'x'; 40 << 10], b"\n".to_vec()].concat();
        assert_eq!(end_of_piece(&line.repeat(3)), line.len());
        let long = [vec![b'x'; 100 << 10], b"\n".to_vec()].concat();
        assert_eq!(end_of_piece(&[long.clone(), line].concat()), long.len());
        assert_eq!(end_of_piece(b"a\nb\n"), 4);
    }

    #[test]
    fn flush_is_complete_when_all_lines_are_written() {
        let disk = Disk::with_room(1000);
        let (queue, writer) = writer(&disk);
        queue.push(b"stopped\n");
        std::thread::spawn(|| writer.run());
        queue.flush(Duration::from_secs(60));
        assert_eq!(disk.text(), "stopped\n");
    }
}
