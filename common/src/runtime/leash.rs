//! Ends a program's processes when the program ends in any way, SIGKILL included.
//!
//! The program lists the processes that it holds in a file without a name. A watcher, which is one
//! small shell (`leash.sh`), has that file and the read end of a pipe; the program has the only
//! write end. When the program ends, the pipe closes, and the watcher kills the listed processes
//! with SIGKILL, at once: another worker takes a killed worker's job over as soon as its lease
//! ends, and the two runs must not overlap. Until then the watcher sleeps: holding or releasing a
//! process is one small write to memory.
//!
//! Used by the worker's commands and processes and by benchmarks. The embedded server has its own
//! watcher, which grants time to shut down. The reasons for a shell, and for one per program, are
//! in `docs/internals/decisions/0020-a-shell-ends-child-processes.md`.
//!
//! Three short races remain:
//!
//! - A process is listed after it has started, because only then its id is known. A process that
//!   starts at the moment in which the program is killed keeps running.
//! - A process is listed until shortly after it was waited for. If the program is killed at that
//!   moment, and the system reuses the id before the watcher reads the list, the watcher kills the
//!   new process. Systems assign ids in ascending order, so all ids would have to be used within
//!   that moment.
//! - A watcher that was killed is replaced when the next process starts.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The watcher's script.
const SCRIPT: &str = include_str!("leash.sh");

/// The processes that end with this program. Clones share one watcher, which starts at first use
/// and ends with the last clone and the last [`Held`].
#[derive(Debug, Clone, Default)]
pub struct Leash(Arc<Mutex<LeashState>>);

/// A held process or group, until this is dropped.
///
/// Drop it only after the process has ended, or if the process may outlive this program.
#[derive(Debug)]
pub struct Held {
    leash: Leash,
    place: usize,
}

#[derive(Debug, Default)]
struct LeashState {
    watcher: Option<Watcher>,
    /// The held processes, one per line.
    list: Option<File>,
    /// The number of lines in the list.
    places: usize,
    /// The unused lines.
    free: Vec<usize>,
    /// The list or a watcher could not be created, and that was logged.
    is_logged: bool,
}

/// The shell, and the pipe that keeps it asleep.
#[derive(Debug)]
struct Watcher {
    shell: Child,
    _pipe: ChildStdin,
}

impl Leash {
    /// Starts the watcher if none runs, which blocks for about a millisecond. Call it before the
    /// process to hold starts.
    ///
    /// Without `/bin/sh` no watcher runs, which is logged once: processes then outlive a program
    /// that is killed.
    pub fn prepare(&self) {
        let mut state = self.state();
        if let Err(error) = state.prepare()
            && !state.is_logged
        {
            state.is_logged = true;
            tracing::warn!(%error, "cannot start a watcher: processes outlive a SIGKILL");
        }
    }

    /// Holds the process `pid`, which the caller has started and not yet waited for.
    #[must_use]
    pub fn hold_process(&self, pid: u32) -> Held {
        self.hold(i64::from(pid))
    }

    /// Holds the process group that the process `leader` leads, which the caller has started and
    /// not yet waited for.
    #[must_use]
    pub fn hold_group(&self, leader: u32) -> Held {
        self.hold(-i64::from(leader))
    }

    fn hold(&self, process: i64) -> Held {
        Held { leash: self.clone(), place: self.state().hold(process) }
    }

    fn state(&self) -> MutexGuard<'_, LeashState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.leash.state().release(self.place);
    }
}

impl LeashState {
    fn prepare(&mut self) -> io::Result<()> {
        let watcher = self.watcher.as_mut();
        if watcher.is_some_and(|watcher| matches!(watcher.shell.try_wait(), Ok(None))) {
            return Ok(());
        }
        let list = match &mut self.list {
            Some(list) => list,
            none => none.insert(unnamed()?),
        };
        self.watcher = Some(Watcher::start(list)?);
        Ok(())
    }

    fn hold(&mut self, process: i64) -> usize {
        let place = self.free.pop().unwrap_or(self.places);
        self.places = self.places.max(place + 1);
        self.write(place, &process.to_string());
        place
    }

    fn release(&mut self, place: usize) {
        self.write(place, "");
        self.free.push(place);
    }

    fn write(&self, place: usize, process: &str) {
        let Some(list) = &self.list else { return };
        // Lines of 16 bytes never cross a page, so none is ever half written.
        let line = format!("{process:>15}\n");
        if let Err(error) = list.write_all_at(line.as_bytes(), 16 * place as u64) {
            tracing::warn!(%error, "cannot list a process: it outlives a SIGKILL");
        }
    }
}

impl Watcher {
    fn start(list: &File) -> io::Result<Self> {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "leash"])
            // The watcher must not use a folder, hold secrets, or receive a terminal's signals.
            .current_dir("/")
            .env_clear()
            .process_group(0)
            // The write end is close-on-exec, so no other child keeps it open.
            .stdin(Stdio::piped())
            .stdout(list.try_clone()?)
            .stderr(Stdio::null())
            .spawn()?;
        let pipe = shell.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { shell, _pipe: pipe })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Killed without reading the list.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Creates a file without a name: in memory, if the system supports that.
#[cfg(target_os = "linux")]
fn unnamed() -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};

    // A temporary folder may be missing or read-only.
    Ok(File::from(memfd_create("leash", MemfdFlags::CLOEXEC)?))
}

/// Creates a file without a name.
#[cfg(not(target_os = "linux"))]
fn unnamed() -> io::Result<File> {
    tempfile::tempfile()
}

#[cfg(test)]
mod tests;
