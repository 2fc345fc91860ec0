//! The file by which a background worker is found: who runs holds its lock, so that a file that a
//! dead one has left is told from that of a living one.
//!
//! Lines: the process id, how long it may drain (ms), and whether it is ready.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often, and for how long, who starts tries to get the lock: `status` and `stop` have it for a
/// moment, too.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(1);

/// What the third line says of one that is ready.
pub(crate) const READY: &str = "ready";

/// What the file of a living worker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) pid: i32,
    pub(crate) drains_for: Duration,
    /// [`READY`], or why it is not.
    pub(crate) state: String,
}

/// What a look at the file finds.
pub(crate) enum Found {
    /// Nobody runs; whether a dead one has left the file.
    Nobody { stale: bool },
    /// It has the lock, and has not said yet who it is.
    Starting,
    /// Somebody runs. With the file, whose lock says when he has ended.
    Running(Noted, File),
}

/// Opens the file and takes its lock; `None` if a worker has it.
pub(crate) fn take(path: &Path) -> io::Result<Option<File>> {
    let since = Instant::now();
    loop {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            // Whoever has just ended has taken the file away: that one is nobody's.
            Ok(()) if is_at(&file, path) => {
                file.set_len(0)?;
                return Ok(Some(file));
            }
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if since.elapsed() >= PATIENCE => return Ok(None),
            Err(TryLockError::WouldBlock) => sleep(AGAIN_AFTER),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(theirs)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())
}

/// Writes what it says into the file of the lock's holder.
pub(crate) fn note(mut file: &File, noted: &Noted) -> io::Result<()> {
    let Noted { pid, drains_for, state } = noted;
    let text = format!("{pid}\n{}\n{}\n", drains_for.as_millis(), state.replace('\n', " "));
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

/// Looks who runs.
pub(crate) fn look(path: &Path) -> io::Result<Found> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Found::Nobody { stale: false });
        }
        Err(error) => return Err(error),
    };
    if is_free(&file)? {
        return Ok(Found::Nobody { stale: true });
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(read(&text).map_or(Found::Starting, |noted| Found::Running(noted, file)))
}

fn read(text: &str) -> Option<Noted> {
    let mut lines = text.lines();
    let pid = lines.next()?.parse().ok().filter(|pid| *pid > 1)?;
    let drains_for = Duration::from_millis(lines.next()?.parse().ok()?);
    Some(Noted { pid, drains_for, state: lines.next()?.to_owned() })
}

/// Whether nobody holds the lock of `file`.
pub(crate) fn is_free(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Waits for the end of who holds the lock of `file`; `false` if it does not come `within`.
pub(crate) fn wait_free(file: &File, within: Duration) -> io::Result<bool> {
    let since = Instant::now();
    while !is_free(file)? {
        if since.elapsed() >= within {
            return Ok(false);
        }
        sleep(AGAIN_AFTER);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_whole_note_says_nothing() {
        let noted = read("17\n25000\nready\n").unwrap();
        assert_eq!((noted.pid, noted.drains_for), (17, Duration::from_secs(25)));
        assert_eq!(noted.state, READY);
        // Signals to 0, 1 and -1 go to others than a worker.
        for text in ["", "17", "17\n2", "x\n1\nready", "0\n1\nready", "1\n1\nr", "-1\n1\nready"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
