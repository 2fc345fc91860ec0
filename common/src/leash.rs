//! What ends a program's processes when the program ends in any way, SIGKILL included.
//!
//! A watcher, which is one small shell (`leash.sh`), holds the read end of a pipe; the program has
//! its only write end, and tells the watcher what it holds. When the program ends the pipe closes,
//! and the watcher kills what was held by SIGKILL, at once: a job of a killed worker is taken over
//! as soon as the lease is over, and must not run beside its first run. Used by the worker's
//! commands and processes and by benchmarks. The embedded server has a watcher of its own, which
//! gives it time ([`crate::store::embedded`]).
//!
//! Why a shell, and why one per program: `docs/decisions/0026-a-shell-holds-the-leash.md`.
//!
//! Three races remain, each of them short:
//!
//! - A process is held after it has started: the program has its id only then. What starts in the
//!   instant in which the program is killed goes on.
//! - A place is free after its process was waited for: in between, the id belongs to nobody, or to
//!   what is left of the group. If the program is killed right there and the system gives the id to
//!   another process before the watcher reads the end of the pipe, that one is killed. Ids come in
//!   turns, so this takes a full turn within that instant.
//! - A watcher that was killed is noticed with the next process that starts or ends, and replaced.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the watcher runs.
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
    /// What is held, by place: a process id, or that of a group as a negative number.
    held: Vec<Option<i64>>,
    /// The places that hold nothing.
    free: Vec<usize>,
    /// No watcher could be started, and that was logged.
    is_told: bool,
}

#[derive(Debug)]
struct Watcher {
    shell: Child,
    pipe: ChildStdin,
}

impl Leash {
    /// Starts the watcher if there is none. Blocks for about a millisecond, the first time; to be
    /// called before the process is started that is to be held.
    ///
    /// Without a `/bin/sh` there is none, which is logged once: processes then outlive a program
    /// that is killed.
    pub fn prepare(&self) {
        self.state().prepare();
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
    fn prepare(&mut self) {
        if self.watcher.is_none() {
            self.start();
        }
    }

    /// Starts a watcher that knows what is held.
    fn start(&mut self) {
        let held = self.held.iter().enumerate();
        let held = held.filter_map(|(place, process)| Some((place, (*process)?)));
        match Watcher::start(held) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) if !self.is_told => {
                self.is_told = true;
                tracing::warn!(%error, "no shell watches: processes outlive a killed worker");
            }
            Err(_) => {}
        }
    }

    fn hold(&mut self, process: i64) -> usize {
        let place = self.free.pop().unwrap_or(self.held.len());
        match self.held.get_mut(place) {
            Some(held) => *held = Some(process),
            None => self.held.push(Some(process)),
        }
        self.tell(place);
        place
    }

    fn release(&mut self, place: usize) {
        self.held[place] = None;
        self.free.push(place);
        self.tell(place);
    }

    /// Tells the watcher what a place holds. One that was killed, or reads no more, is replaced.
    fn tell(&mut self, place: usize) {
        let Some(watcher) = &mut self.watcher else { return };
        if watcher.tell(place, self.held[place]).is_err() {
            // Before its pipe closes: it would kill what it knows.
            self.watcher = None;
            self.start();
        }
    }
}

impl Watcher {
    fn start(held: impl Iterator<Item = (usize, i64)>) -> io::Result<Self> {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "leash"])
            // A folder that is not to be unmounted, secrets, a terminal's signals: none of them is
            // for it.
            .current_dir("/")
            .env_clear()
            .process_group(0)
            // The write end is close-on-exec, so no other child keeps it open.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pipe = shell.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut watcher = Self { shell, pipe };
        for (place, process) in held {
            watcher.tell(place, Some(process))?;
        }
        // From here on, one that reads no more (it was stopped) must not stop us.
        rustix::io::ioctl_fionbio(&watcher.pipe, true)?;
        Ok(watcher)
    }

    /// A line is written as a whole or not at all: the watcher never reads half of an id.
    fn tell(&mut self, place: usize, process: Option<i64>) -> io::Result<()> {
        let line = match process {
            Some(process) => format!("{place} {process}\n"),
            None => format!("{place}\n"),
        };
        self.pipe.write_all(line.as_bytes())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It ends without looking at its list: what is still held, another will watch over.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests;
