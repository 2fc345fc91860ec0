//! `--background`, `status` and `stop`: a worker that outlives the process that started it.
//!
//! The program starts itself again, in its own session: a process with several threads must not
//! fork. The child inherits the lock of the pid file as its standard input; on its standard output
//! it reports that it is ready, or why it is not.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use redcall_common::output as out;
use redcall_common::report::Problem;
use redcall_worker::Readiness;
use rustix::process::{Signal, setsid};
use tokio::time::sleep;

use crate::identity::{Identity, ProcessHandle};
use crate::pid_file::{self, Found, Note, READY};
use crate::safe_file::open_log;
use crate::unwritten;

/// Timeout of the start; connecting has shorter timeouts of its own.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Extra time for a worker to end, after its drain timeout and after the second signal.
const MARGIN: Duration = Duration::from_secs(5);
/// Interval of updates of the state in the pid file.
const UPDATE_INTERVAL: Duration = Duration::from_secs(5);
const SHORT_PAUSE: Duration = Duration::from_millis(50);

const SEE_LOG: &str = "Read its log: name a file with --log-file.";

/// Exit codes of `status` and `stop`.
const NOT_RUNNING: u8 = 3;
const NOT_READY: u8 = 4;

/// A problem, and its exit code.
type Failed = (Problem, u8);

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failed {
    let problem = Problem::new(format!("{what} {}: {error}", path.display()));
    let help = "Name a file that can be written, in a folder of your own, by --pid-file or \
                --log-file.";
    (problem.help(help), 1)
}

/// Starts a worker with the arguments of this program; returns once it is ready.
pub(crate) fn start(pid_path: &Path, log_path: Option<&Path>) -> Result<ExitCode, Failed> {
    let log = match log_path {
        None => Stdio::null(),
        Some(path) => {
            open_log(path).map_err(|error| cannot("cannot write to", path, &error))?.into()
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
    let worker = match pid_file::inspect(path) {
        Ok(Found::Running(note, ..)) => format!("worker {}", note.pid),
        _ => "a worker".to_owned(),
    };
    let problem = Problem::new(format!("{worker} is already running ({})", path.display()));
    (problem.help("Stop it with `redcall-worker stop`, or name another --pid-file."), 1)
}

/// Waits until the worker reports that it is ready, or why it is not; returns its exit code then.
fn wait_ready(mut child: Child) -> Result<u8, Failed> {
    let Some(output) = child.stdout.take() else { return Ok(0) };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut output, mut text) = (BufReader::new(output), String::new());
        let _ = output.read_line(&mut text);
        if text.trim_end() != READY {
            let _ = output.read_to_string(&mut text);
        }
        let _ = sender.send(text);
    });
    match receiver.recv_timeout(START_TIMEOUT) {
        Ok(text) if text.trim_end() == READY => Ok(0),
        Ok(text) => {
            let ended = child.wait().ok().and_then(|status| status.code());
            let code = ended.and_then(|code| u8::try_from(code).ok()).filter(|code| *code > 0);
            if text.is_empty() {
                let problem = Problem::new("the worker ended without a message");
                return Err((problem.help(SEE_LOG), code.unwrap_or(1)));
            }
            // The message is formatted already.
            out::hint(text.trim_end());
            Ok(code.unwrap_or(1))
        }
        Err(_) => {
            let _ = child.kill();
            let _ = child.wait();
            let problem =
                Problem::new(format!("the worker was not ready within {START_TIMEOUT:?}"));
            Err((problem.help(SEE_LOG), 1))
        }
    }
}

/// Prints whether a worker runs.
pub(crate) fn status(path: &Path) -> Result<ExitCode, Failed> {
    match pid_file::inspect(path).map_err(|error| cannot("cannot read", path, &error))? {
        Found::NotRunning { stale } => {
            let left = if stale { ", stale pid file" } else { "" };
            out::line(format_args!("not running ({}{left})", path.display())).map_err(unwritten)?;
            Ok(ExitCode::from(NOT_RUNNING))
        }
        Found::Starting => {
            out::line("starting").map_err(unwritten)?;
            Ok(ExitCode::from(NOT_READY))
        }
        Found::Running(Note { pid, state, .. }, ..) => {
            out::line(format_args!("worker {pid} runs: {state}")).map_err(unwritten)?;
            Ok(ExitCode::from(if state == READY { 0 } else { NOT_READY }))
        }
    }
}

/// Stops the worker with SIGTERM; with a second signal if it does not drain in time.
pub(crate) fn stop(path: &Path) -> Result<ExitCode, Failed> {
    let found = pid_file::inspect(path).map_err(|error| cannot("cannot read", path, &error))?;
    let (note, file, owner) = match found {
        Found::NotRunning { .. } => {
            out::line(format_args!("not running ({})", path.display())).map_err(unwritten)?;
            return Ok(ExitCode::from(NOT_RUNNING));
        }
        Found::Starting => {
            let problem = Problem::new("the pid file does not name the worker's process yet");
            return Err((problem.help("The worker is starting: try again in a moment."), 1));
        }
        Found::Running(note, file, owner) => (note, file, owner),
    };
    let pid = note.pid;
    let process = match held(path, &note, owner) {
        Ok(process) => process,
        // The worker has ended since the file was read.
        Err(_) if pid_file::is_free(&file).unwrap_or(false) => {
            out::line(format_args!("worker {pid} has stopped")).map_err(unwritten)?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(failed) => return Err(failed),
    };
    let wait_end = |timeout| -> io::Result<bool> {
        // If the worker has ended meanwhile, its lock is free.
        let signalled = process.signal(Signal::TERM);
        Ok(pid_file::wait_free(&file, if signalled.is_ok() { timeout } else { SHORT_PAUSE })?
            || signalled.map(|()| false)?)
    };
    let failed = |error: io::Error| (Problem::new(format!("cannot stop worker {pid}: {error}")), 1);
    let text = if wait_end(note.drains_for + MARGIN).map_err(failed)? {
        format!("worker {pid} has stopped")
    } else if wait_end(MARGIN).map_err(failed)? {
        format!("worker {pid} did not drain in time, and was stopped by a second signal")
    } else {
        let problem = Problem::new(format!("worker {pid} does not stop"));
        return Err((problem.help("End it with SIGKILL: other workers take over its jobs."), 1));
    };
    out::line(&text).map_err(|error| unwritten(error.after(format!("The {text}."))))?;
    Ok(ExitCode::SUCCESS)
}

/// Opens a handle of the process that wrote the note, which is in a file of user `owner`. A process
/// that only has the same number is not signalled.
fn held(path: &Path, note: &Note, owner: u32) -> Result<ProcessHandle, Failed> {
    let pid = note.pid;
    let failed = |error: io::Error| (Problem::new(format!("cannot stop worker {pid}: {error}")), 1);
    let held = ProcessHandle::of(pid).map_err(failed)?;
    // Checked while the handle is open.
    let found = Identity::of(pid).map_err(failed)?;
    if let (Some(held), Some(found)) = (held, found)
        && note.is_of(&found, owner)
    {
        return Ok(held);
    }
    let path = path.display();
    let what = format!("process {pid} is not the worker that wrote {path}");
    let help = "No process was signalled. Another process has this number now, or the worker \
                runs in another container: stop it there. `fuser` shows the process that holds \
                the file.";
    Err((Problem::new(what).help(help), 1))
}

/// The started worker, in its own process. Dropping it removes the pid file.
pub(crate) struct Detached {
    lock: File,
    output: Option<File>,
    path: PathBuf,
    note: Note,
}

impl Detached {
    /// Leaves the session of the starting process, and writes its own number.
    pub(crate) fn begin(path: &Path, drains_for: Duration) -> io::Result<Self> {
        setsid()?;
        let lock = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        // Handlers' programs must inherit neither; their output goes to the log.
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        rustix::stdio::dup2_stdout(io::stderr())?;
        let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        let Identity { started, program, .. } = Identity::own()?;
        let note = Note { pid, drains_for, state: "starting".to_owned(), started, program };
        pid_file::write_note(&lock, &note)?;
        Ok(Self { lock, output: Some(output), path: path.to_owned(), note })
    }

    /// Updates the pid file while the worker runs, and reports when it is ready for the first time.
    /// Never returns.
    pub(crate) async fn accompany(&mut self, readiness: Readiness) {
        loop {
            self.note.state = match readiness.check().await {
                Ok(()) => READY.to_owned(),
                Err(reasons) => format!("not ready: {}", reasons.join("; ")),
            };
            // A full disk must not end the worker.
            if let Err(error) = pid_file::write_note(&self.lock, &self.note) {
                tracing::warn!(%error, "cannot write the pid file");
            }
            if self.note.state == READY {
                self.report(READY);
            }
            sleep(if self.output.is_some() { SHORT_PAUSE } else { UPDATE_INTERVAL }).await;
        }
    }

    /// Reports to the starting process, once; that may have ended.
    pub(crate) fn report(&mut self, text: &str) {
        if let Some(mut output) = self.output.take() {
            let _ = writeln!(output, "{text}");
        }
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        pid_file::remove(&self.lock, &self.path);
    }
}
