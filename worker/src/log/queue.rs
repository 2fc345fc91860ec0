//! The queue between the threads that log and the thread that writes: bounded in lines and bytes.
//!
//! Pushing never waits for the sink. The lock is held for a copy of one line, or a swap of two
//! buffers.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::dropped::{Reason, count};

/// Most lines in the queue.
const LINES: usize = 16 << 10;
/// Most bytes in the queue. The writer may hold as many.
const BYTES: usize = 2 << 20;

/// See the module.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    /// Signalled when the writer has work.
    work: Condvar,
    /// Signalled when a flush is complete.
    flushed: Condvar,
}

#[derive(Default)]
struct QueueState {
    /// Whole lines. Appended by [`Queue::push`], taken by [`Queue::next`].
    buffer: Vec<u8>,
    lines: usize,
    /// The thread whose own lines always fit. Set by the writer when it starts.
    writer: Option<ThreadId>,
    /// Dropped lines that the log does not report yet.
    unreported: Unreported,
    /// Number of the last requested flush, and of the last completed one.
    requested: u64,
    done: u64,
    /// `true` if the writer must check its timers.
    woken: bool,
}

/// Numbers of dropped lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unreported {
    /// Lines that did not fit.
    pub(super) full: u64,
    /// Lines that the sink refused.
    pub(super) failed: u64,
}

impl Unreported {
    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// The work of the writer.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Whole lines; may be empty.
    pub(super) lines: Vec<u8>,
    /// `true` if a flush waits.
    pub(super) flush: bool,
}

impl Queue {
    /// Appends `line`, which ends with a line feed; drops and counts it if it does not fit.
    pub(super) fn push(&self, line: &[u8]) {
        let lines = lines_of(line);
        let mut state = self.lock();
        let has_room = state.lines + lines <= LINES && state.buffer.len() + line.len() <= BYTES;
        if has_room || state.writer == Some(std::thread::current().id()) {
            state.buffer.extend_from_slice(line);
            state.lines += lines;
        } else {
            state.unreported.full += lines as u64;
            count(Reason::Full, lines as u64);
        }
        drop(state);
        self.work.notify_one();
    }

    /// Declares the calling thread the writer.
    pub(super) fn is_written_here(&self) {
        self.lock().writer = Some(std::thread::current().id());
    }

    /// Wakes the writer to check its timers.
    pub(super) fn wake(&self) {
        self.lock().woken = true;
        self.work.notify_one();
    }

    /// Waits for work, for `timeout` at most if that is given. `spare` becomes the next buffer.
    pub(super) fn next(&self, spare: Vec<u8>, timeout: Option<Duration>) -> Work {
        let is_idle = |state: &mut QueueState| {
            state.buffer.is_empty() && state.requested == state.done && !state.woken
        };
        let state = self.lock();
        let mut state = match timeout {
            Some(timeout) => {
                let waited = self.work.wait_timeout_while(state, timeout, is_idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.work.wait_while(state, is_idle).unwrap_or_else(PoisonError::into_inner),
        };
        state.woken = false;
        state.lines = 0;
        let lines = std::mem::replace(&mut state.buffer, spare);
        Work { lines, flush: state.requested > state.done }
    }

    /// Counts `lines` that the sink refused.
    pub(super) fn failed(&self, lines: &[u8]) {
        let lines = lines_of(lines).max(1) as u64;
        self.lock().unreported.failed += lines;
        count(Reason::Failed, lines);
    }

    /// Returns the dropped lines that the log does not report yet.
    pub(super) fn unreported(&self) -> Unreported {
        self.lock().unreported
    }

    /// Marks dropped lines as reported.
    pub(super) fn reported(&self, reported: Unreported) {
        let unreported = &mut self.lock().unreported;
        unreported.full -= reported.full;
        unreported.failed -= reported.failed;
    }

    /// Completes the waiting flush, unless there are lines again.
    pub(super) fn complete(&self) {
        let mut state = self.lock();
        if state.buffer.is_empty() {
            state.done = state.requested;
            self.flushed.notify_all();
        }
    }

    /// Waits until all lines have been written or dropped, for `timeout` at most.
    pub(super) fn flush(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        state.requested += 1;
        let requested = state.requested;
        self.work.notify_one();
        while state.done < requested {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            let waited = self.flushed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lines_of(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_queue_drops_and_counts_further_lines() {
        let queue = Queue::default();
        for _ in 0..LINES + 3 {
            queue.push(b"a\n");
        }
        assert_eq!(queue.unreported(), Unreported { full: 3, failed: 0 });
        assert_eq!(queue.next(Vec::new(), None).lines.len(), 2 * LINES);
        let long = [vec![b'x'; 64 << 10], b"\n".to_vec()].concat();
        for _ in 0..1000 {
            queue.push(&long);
        }
        let fit = BYTES / long.len();
        assert_eq!(queue.unreported().full, 3 + 1000 - fit as u64);
        assert_eq!(queue.next(Vec::new(), None).lines.len(), fit * long.len());
    }

    #[test]
    fn lines_of_the_writer_always_fit() {
        let queue = Queue::default();
        for _ in 0..LINES {
            queue.push(b"a\n");
        }
        queue.is_written_here();
        queue.push(b"b\n");
        assert!(queue.unreported().is_empty());
    }

    #[test]
    fn flush_without_a_writer_ends_in_its_time() {
        let queue = Queue::default();
        queue.push(b"a\n");
        queue.flush(Duration::from_millis(1));
        assert!(queue.next(Vec::new(), None).flush);
    }
}
