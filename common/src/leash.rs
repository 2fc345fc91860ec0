//! Ends a program's processes when the program ends in any way, SIGKILL included.
//!
//! The program lists the processes that it holds in a file without a name. A watcher, which is one
//! small shell (`leash.sh`), has that file and the read end of a pipe whose only write end is the
//! program's. When the program ends the pipe closes, and the watcher kills what is listed by
//! SIGKILL, at once: a job of a killed worker is taken over as soon as the lease is over, and must
//! not run beside its first run. Until then it sleeps: to hold a process is one small write to
//! memory, and so is its release.
//!
//! Used by the worker's commands and processes and by benchmarks. The embedded server has a watcher
//! of its own, which gives it time ([`crate::store::embedded`]). Why a shell, and why one per
//! program: `docs/internals/decisions/0020-a-shell-ends-child-processes.md`.
//!
//! Three races remain, each of them short:
//!
//! - A process is listed after it has started: the program has its id only then. A process that
//!   starts in the instant in which the program is killed goes on.
//! - A process is listed until shortly after it was waited for. If the program is killed right
//!   there, and the system gives the id to another process before the watcher reads the list, that
//!   process is killed. Systems give ids in ascending order, so all ids would have to be used
//!   within that instant.
//! - A watcher that was killed is replaced when the next process starts.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The watcher's script.
const SCRIPT: &str = include_str!("leash.sh");

/// The processes that end with this program. Clones share one watcher, which starts when it is
/// first needed and ends with the last clone and the last [`Held`].
#[derive(Debug, Clone, Default)]
pub struct Leash(Arc<Mutex<State>>);

/// One held process or group, until this is dropped.
///
/// To be dropped only after the process has ended, or when it may outlive this program.
#[derive(Debug)]
pub struct Held {
    leash: Leash,
    place: usize,
}

#[derive(Debug, Default)]
struct State {
    watcher: Option<Watcher>,
    /// The held processes, a line each.
    list: Option<File>,
    /// How many lines the list has.
    places: usize,
    /// Those of them that hold nothing.
    free: Vec<usize>,
    /// The list, or a watcher, could not be had, and that was logged.
    is_logged: bool,
}

/// The shell, and what keeps it asleep.
#[derive(Debug)]
struct Watcher {
    shell: Child,
    _pipe: ChildStdin,
}

impl Leash {
    /// Starts the watcher if none runs, which blocks for about a millisecond. To be called before
    /// the process starts that is to be held.
    ///
    /// Without `/bin/sh` there is no watcher, which is logged once: processes then outlive a
    /// program that is killed.
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.leash.state().release(self.place);
    }
}

impl State {
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
        // Lines of 16 bytes: none lies on two pages, so none is ever half written.
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
            // It must not keep a folder busy, have secrets, or get a terminal's signals.
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
        // It ends without a look at the list.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// A file that is in no folder: in memory, where the system can.
#[cfg(target_os = "linux")]
fn unnamed() -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};

    // A folder for files need not be there, nor be writable.
    Ok(File::from(memfd_create("leash", MemfdFlags::CLOEXEC)?))
}

/// A file that is in no folder.
#[cfg(not(target_os = "linux"))]
fn unnamed() -> io::Result<File> {
    tempfile::tempfile()
}

#[cfg(test)]
mod tests;
