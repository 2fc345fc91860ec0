//! The pid file of a background worker. A running worker locks it, so that the stale file of a dead
//! worker does not count as a running one.
//!
//! Lines: the process id, its drain timeout (ms), its state, and start time and program of the
//! process: the number alone may be reused.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::identity::Identity;
use crate::safe_file::{open_own, open_to_read};

/// How often, and for how long, a start retries to get the lock: `status` and `stop` hold it for a
/// moment, too.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest note, bytes.
const NOTE: u64 = 16 << 10;
/// Longest line about the state, bytes.
const STATE: usize = 4 << 10;

/// The third line of a worker that is ready.
pub(crate) const READY: &str = "ready";

/// The content of a running worker's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) pid: i32,
    pub(crate) drains_for: Duration,
    /// [`READY`], or why the worker is not ready.
    pub(crate) state: String,
    /// Start time and program of the process; see [`Identity`].
    pub(crate) started: String,
    pub(crate) program: String,
}

impl Note {
    /// Returns `true` if `process` wrote this note, in a file of user `owner`.
    pub(crate) fn is_of(&self, process: &Identity, owner: u32) -> bool {
        let Identity { user, started, program } = process;
        (*user, started, program) == (owner, &self.started, &self.program)
    }
}

/// The result of reading the file.
pub(crate) enum Found {
    /// No worker runs; `stale`: a dead worker has left the file.
    NotRunning { stale: bool },
    /// A worker has the lock, and has not written its note yet.
    Starting,
    /// A worker runs: its note, the file, whose lock is held until the worker ends, and the file's
    /// owner.
    Running(Note, File, u32),
}

/// Opens the file and locks it; returns `None` if a worker holds the lock. A file that is not a
/// worker's note is not overwritten.
pub(crate) fn take(path: &Path) -> io::Result<Option<File>> {
    let since = Instant::now();
    loop {
        let file = open_own(path)?;
        match file.try_lock() {
            // A worker that has just ended may have removed the file.
            Ok(()) if is_at(&file, path) => {
                if !is_note(&text_of(&file)?) {
                    let message = "the file is not a worker's pid file, and is not overwritten";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                file.set_len(0)?;
                return Ok(Some(file));
            }
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if since.elapsed() >= LOCK_TIMEOUT => return Ok(None),
            Err(TryLockError::WouldBlock) => sleep(RETRY_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Returns `true` if `path` names `file`.
fn is_at(file: &File, path: &Path) -> bool {
    let theirs = std::fs::symlink_metadata(path);
    let (Ok(ours), Ok(theirs)) = (file.metadata(), theirs) else { return false };
    (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())
}

/// Removes the file of the lock's holder.
pub(crate) fn remove(file: &File, path: &Path) {
    // While the lock is held: no other worker has locked it.
    if is_at(file, path) {
        let _ = std::fs::remove_file(path);
    }
}

/// Writes `note` into the file of the lock's holder.
pub(crate) fn write_note(mut file: &File, note: &Note) -> io::Result<()> {
    let Note { pid, drains_for, state, started, program } = note;
    let line = |text: &str| text.replace(char::is_control, " ");
    let mut state = line(state);
    state.truncate(state.floor_char_boundary(STATE));
    let (drains_for, program) = (drains_for.as_millis(), line(program));
    let text = format!("{pid}\n{drains_for}\n{state}\n{started}\n{program}\n");
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

/// Reads which worker runs.
pub(crate) fn inspect(path: &Path) -> io::Result<Found> {
    let (file, owner) = match open_to_read(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Found::NotRunning { stale: false });
        }
        Err(error) => return Err(error),
    };
    if is_free(&file)? {
        return Ok(Found::NotRunning { stale: true });
    }
    let text = text_of(&file)?;
    Ok(read(&text).map_or(Found::Starting, |note| Found::Running(note, file, owner)))
}

fn text_of(file: &File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(NOTE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns `true` if `text` begins like a note, or is empty: its writer may have been killed.
fn is_note(text: &str) -> bool {
    let number = |line: &str| line.bytes().all(|byte| byte.is_ascii_digit());
    text.len() < 20 && number(text) || text.lines().take(2).all(number) && text.lines().count() > 2
}

fn read(text: &str) -> Option<Note> {
    let mut lines = text.lines();
    let pid = lines.next()?.parse().ok().filter(|pid| *pid > 1)?;
    let drains_for = Duration::from_millis(lines.next()?.parse().ok()?);
    // The text comes from a file, and goes to a terminal.
    let mut line = || Some(lines.next()?.replace(char::is_control, " "));
    Some(Note { pid, drains_for, state: line()?, started: line()?, program: line()? })
}

/// Returns `true` if the lock of `file` is free.
pub(crate) fn is_free(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Waits until the lock of `file` is free; returns `false` after `timeout`.
pub(crate) fn wait_free(file: &File, timeout: Duration) -> io::Result<bool> {
    let since = Instant::now();
    while !is_free(file)? {
        if since.elapsed() >= timeout {
            return Ok(false);
        }
        sleep(RETRY_PAUSE);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_note_is_ignored() {
        let note = read("17\n25000\nready\n4711\n/bin/worker\n").unwrap();
        assert_eq!((note.pid, note.drains_for), (17, Duration::from_secs(25)));
        assert_eq!(note.state, READY);
        // Signals to 0, 1 and -1 reach other processes than a worker.
        for text in ["", "17", "17\n2", "17\n2\nready\n", "17\n2\nready\n4711\n"] {
            assert_eq!(read(text), None, "{text:?}");
        }
        for pid in ["x", "0", "1", "-1"] {
            assert_eq!(read(&format!("{pid}\n1\nready\n4711\n/bin/worker\n")), None, "{pid}");
        }
    }

    #[test]
    fn other_file_is_not_overwritten() {
        for text in ["", "17", "17\n25000\nready\n", "17\n25000\nready\n4711\n/bin/worker\n"] {
            assert!(is_note(text), "{text:?}");
        }
        for text in ["precious", "17 apples\n25\nx\n", "17\nx\ny\n", "\u{0}\u{1}", "# a\n1\n2\n"] {
            assert!(!is_note(text), "{text:?}");
        }
    }

    #[test]
    fn note_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let file = take(&path).unwrap().unwrap();
        let Identity { user, started, program } = Identity::own().unwrap();
        let state = format!("not ready:\n{}", "\u{e9}".repeat(STATE));
        let note = Note { pid: 17, drains_for: Duration::from_secs(1), state, started, program };
        write_note(&file, &note).unwrap();
        let Found::Running(found, _, owner) = inspect(&path).unwrap() else {
            panic!("not running")
        };
        assert!(found.state.starts_with("not ready: \u{e9}") && found.state.len() <= STATE);
        let own = Identity::own().unwrap();
        assert!(owner == user && found.is_of(&own, user) && !found.is_of(&own, user + 1));
        assert!(!found.is_of(&Identity { started: "0".to_owned(), ..own.clone() }, user));
        assert!(!found.is_of(&Identity { program: "/bin/sh".to_owned(), ..own }, user));
        // A file of another process is not removed.
        std::fs::rename(&path, folder.path().join("aside")).unwrap();
        std::fs::write(&path, "another's").unwrap();
        remove(&file, &path);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "another's");
        assert!(take(&path).unwrap_err().to_string().contains("not a worker's pid file"));
    }
}
