//! `--background`, `status` and `stop`: a worker that outlives who has started it.
//!
//! The program starts itself again, in a session of its own: a process of several threads must not
//! fork. The lock of the pid file goes with it, as its standard input; by its standard output it
//! says that it is ready, or why it is not.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use redcall_common::output as out;
use redcall_common::report::Problem;
use redcall_worker::Readiness;
use rustix::process::{Pid, Signal, kill_process, setsid};
use tokio::time::sleep;

use crate::pid_file::{self, Found, Noted, READY};
use crate::unwritten;

/// How long it may take to become ready: connecting has bounds of its own below this.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// How much longer than its drain a worker may take to end, and how long after the second signal.
const MARGIN: Duration = Duration::from_secs(5);
/// How often the state in the pid file is renewed.
const RENEWED: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_millis(50);

const SEE_LOG: &str = "Its log may say more: name a file by --log-file.";

/// Exit codes of `status` and `stop`.
const NOT_RUNNING: u8 = 3;
const NOT_READY: u8 = 4;

/// A problem, and the exit code for it.
type Failed = (Problem, u8);

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failed {
    let problem = Problem::new(format!("{what} {}: {error}", path.display()));
    (problem.help("Name a file that can be written, by --pid-file or --log-file."), 1)
}

/// Starts a worker with the arguments of this program; returns once it is ready.
pub(crate) fn start(pid_path: &Path, log_path: Option<&Path>) -> Result<ExitCode, Failed> {
    let log = match log_path {
        None => Stdio::null(),
        Some(path) => {
            let opened = OpenOptions::new().create(true).append(true).open(path);
            opened.map_err(|error| cannot("cannot write to", path, &error))?.into()
        }
    };
    let lock = pid_file::take(pid_path);
    let lock = lock.map_err(|error| cannot("cannot use", pid_path, &error))?;
    let lock = lock.ok_or_else(|| already(pid_path))?;
    let started = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.args(std::env::args_os().skip(1)).arg("--detached");
        command.stdin(lock).stdout(Stdio::piped()).stderr(log).spawn()
    });
    let child = started.map_err(|error| (Problem::of(&error), 1))?;
    let pid = child.id();
    let code = wait_ready(child)?;
    if code == 0 {
        let text = format!("worker {pid} runs in the background ({})", pid_path.display());
        out::line(&text).map_err(|error| unwritten(error.after(format!("The {text}."))))?;
    }
    Ok(ExitCode::from(code))
}

fn already(path: &Path) -> Failed {
    let who = match pid_file::look(path) {
        Ok(Found::Running(noted, _)) => format!("worker {}", noted.pid),
        _ => "a worker".to_owned(),
    };
    let problem = Problem::new(format!("{who} runs already ({})", path.display()));
    (problem.help("Stop it by `redcall-worker stop`, or name another --pid-file."), 1)
}

/// Waits until it says that it is ready, or why it is not; its exit code then.
fn wait_ready(mut child: Child) -> Result<u8, Failed> {
    let Some(says) = child.stdout.take() else { return Ok(0) };
    let (tell, said) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut says, mut text) = (BufReader::new(says), String::new());
        let _ = says.read_line(&mut text);
        if text.trim_end() != READY {
            let _ = says.read_to_string(&mut text);
        }
        let _ = tell.send(text);
    });
    match said.recv_timeout(STARTS_WITHIN) {
        Ok(text) if text.trim_end() == READY => Ok(0),
        Ok(text) => {
            let ended = child.wait().ok().and_then(|status| status.code());
            let code = ended.and_then(|code| u8::try_from(code).ok()).filter(|code| *code > 0);
            if text.is_empty() {
                let problem = Problem::new("the worker ended without a word");
                return Err((problem.help(SEE_LOG), code.unwrap_or(1)));
            }
            // It has put it into its form already.
            out::hint(text.trim_end());
            Ok(code.unwrap_or(1))
        }
        Err(_) => {
            let _ = child.kill();
            let _ = child.wait();
            let problem = Problem::new(format!("it was not ready within {STARTS_WITHIN:?}"));
            Err((problem.help(SEE_LOG), 1))
        }
    }
}

/// Says whether a worker runs.
pub(crate) fn status(path: &Path) -> Result<ExitCode, Failed> {
    match pid_file::look(path).map_err(|error| cannot("cannot read", path, &error))? {
        Found::Nobody { stale } => {
            let left = if stale { ", a dead one has left its file" } else { "" };
            out::line(format_args!("not running ({}{left})", path.display())).map_err(unwritten)?;
            Ok(ExitCode::from(NOT_RUNNING))
        }
        Found::Starting => {
            out::line("starting").map_err(unwritten)?;
            Ok(ExitCode::from(NOT_READY))
        }
        Found::Running(Noted { pid, state, .. }, _) => {
            out::line(format_args!("worker {pid} runs: {state}")).map_err(unwritten)?;
            Ok(ExitCode::from(if state == READY { 0 } else { NOT_READY }))
        }
    }
}

/// Ends the worker: as by a signal, and when it does not drain in time, as by a second one.
pub(crate) fn stop(path: &Path) -> Result<ExitCode, Failed> {
    let found = pid_file::look(path).map_err(|error| cannot("cannot read", path, &error))?;
    let (noted, file) = match found {
        Found::Nobody { .. } => {
            out::line(format_args!("not running ({})", path.display())).map_err(unwritten)?;
            return Ok(ExitCode::from(NOT_RUNNING));
        }
        Found::Starting => {
            let problem = Problem::new("the worker has not said yet which process it is");
            return Err((problem.help("It is just starting: try again in a moment."), 1));
        }
        Found::Running(noted, file) => (noted, file),
    };
    let pid = noted.pid;
    let signal = || {
        let process = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
        kill_process(process, Signal::TERM).map_err(io::Error::from)
    };
    let ends = |within| -> io::Result<bool> {
        // One that has ended meanwhile has let go of the lock.
        let signalled = signal();
        Ok(pid_file::wait_free(&file, if signalled.is_ok() { within } else { SOON })?
            || signalled.map(|()| false)?)
    };
    let of_it = |error: io::Error| (Problem::new(format!("cannot stop worker {pid}: {error}")), 1);
    let text = if ends(noted.drains_for + MARGIN).map_err(of_it)? {
        format!("worker {pid} has stopped")
    } else if ends(MARGIN).map_err(of_it)? {
        format!("worker {pid} did not drain in time, and has stopped at a second signal")
    } else {
        let problem = Problem::new(format!("worker {pid} does not stop"));
        return Err((problem.help("SIGKILL ends it; others take over what it has."), 1));
    };
    out::line(&text).map_err(|error| unwritten(error.after(format!("The {text}."))))?;
    Ok(ExitCode::SUCCESS)
}

/// The worker that was started, in its own process. Dropped, it takes the pid file away.
pub(crate) struct Detached {
    lock: File,
    says: Option<File>,
    path: PathBuf,
    noted: Noted,
}

impl Detached {
    /// Leaves the session of who has started it, and says which process it is.
    pub(crate) fn begin(path: &Path, drains_for: Duration) -> io::Result<Self> {
        setsid()?;
        let lock = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let says = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        // What handlers start must get neither; what they print goes where the log does.
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        rustix::stdio::dup2_stdout(io::stderr())?;
        let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        let noted = Noted { pid, drains_for, state: "starting".to_owned() };
        pid_file::note(&lock, &noted)?;
        Ok(Self { lock, says: Some(says), path: path.to_owned(), noted })
    }

    /// Keeps the pid file true while the worker runs, and says when it is ready for the first
    /// time. Never ends.
    pub(crate) async fn accompany(&mut self, readiness: Readiness) {
        loop {
            self.noted.state = match readiness.check().await {
                Ok(()) => READY.to_owned(),
                Err(reasons) => format!("not ready: {}", reasons.join("; ")),
            };
            // A full disk must not end it.
            if let Err(error) = pid_file::note(&self.lock, &self.noted) {
                tracing::warn!(%error, "the pid file cannot be written");
            }
            if self.noted.state == READY {
                self.say(READY);
            }
            sleep(if self.says.is_some() { SOON } else { RENEWED }).await;
        }
    }

    /// Tells who has started it, once; that one may have gone.
    pub(crate) fn say(&mut self, text: &str) {
        if let Some(mut says) = self.says.take() {
            let _ = writeln!(says, "{text}");
        }
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        // While the lock is held: nobody else has made it his own yet.
        let _ = std::fs::remove_file(&self.path);
    }
}
