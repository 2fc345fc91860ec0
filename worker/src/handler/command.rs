//! A process per job: data as JSON on stdin, answer as JSON on stdout, stderr into the log.
//!
//! The process leads a group of its own. Whatever ends the job ends the group, also what the
//! command itself has started: by SIGTERM when the job's token fires, by SIGKILL when the handler
//! is dropped, which the dispatcher does after `worker.cancel_grace`.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use redcall_common::error::Code;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Ending, Handler, HandlerError, Running};
use crate::request::Request;
use crate::state::States;

/// Longest line of stderr that is logged, bytes; longer ones are cut into several.
const LOG_LINE: u64 = 8 << 10;
/// How long the pipes are used on after the command has ended.
const LEFT_OPEN: Duration = Duration::from_millis(500);

/// Runs a program for each job.
pub(crate) struct CommandHandler {
    program: PathBuf,
    args: Vec<String>,
    dir: PathBuf,
    max_answer: usize,
}

/// Ends the process group when it goes, however it goes.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It may have ended by itself.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl CommandHandler {
    /// `command` is program and arguments; the program is looked for like a shell does, but
    /// relative to `dir`, in which it also runs.
    ///
    /// # Errors
    ///
    /// What to do when there is no such program.
    pub(crate) fn new(command: &[String], dir: &Path, max_answer: usize) -> Result<Self, String> {
        let (name, args) = command.split_first().ok_or("the command is empty")?;
        let program = find_program(name, dir)?;
        Ok(Self { program, args: args.to_vec(), dir: dir.to_owned(), max_answer })
    }

    fn command(&self, request: &Request) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.dir).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("REDCALL_JOB_ID", request.id()).env("REDCALL_JOB_NAME", request.name());
        if let Some(left) = request.remaining() {
            command.env("REDCALL_BUDGET_MS", left.as_millis().to_string());
        }
        command
    }
}

impl Handler for CommandHandler {
    fn describe(&self) -> String {
        format!("command {} {}", self.program.display(), self.args.join(" ")).trim_end().to_owned()
    }

    fn check(&self, _: &States) -> Result<(), String> {
        Ok(())
    }

    fn call(&self, request: Request) -> Running {
        let command = self.command(&request);
        Box::pin(run(command, self.max_answer, request))
    }
}

async fn run(mut command: Command, max_answer: usize, request: Request) -> Ending {
    let mut child = command.spawn().map_err(|error| {
        tracing::error!(id = request.id(), %error, "the command cannot be started");
        HandlerError::with_code(Code::Internal, "the command cannot be started")
    })?;
    let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let group = Group(leader);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (gone, heard) = watch::channel(false);
    let ended = async {
        let status = child.wait().await.map_err(HandlerError::from);
        // What it left behind would hold its pipes open.
        drop(group);
        gone.send_replace(true);
        status
    };
    let mut work = pin!(async {
        let (status, output, (), ()) = tokio::try_join!(
            ended,
            read(stdout, max_answer, heard.clone()),
            feed(stdin, request.data(), heard.clone()),
            log(stderr, &request, heard),
        )?;
        answer(status, &output)
    });
    tokio::select! {
        // What has ended in time counts.
        biased;
        ending = &mut work => return ending,
        () = request.cancelled() => {}
    }
    if let Some(leader) = leader {
        let _ = kill_process_group(leader, Signal::TERM);
    }
    // With the leader goes whoever ignores SIGTERM.
    let _ = work.await;
    Err(HandlerError::with_code(Code::Cancelled, "the command was ended"))
}

/// Writes the data. A command that does not read it is none of our business.
async fn feed(
    stdin: Option<ChildStdin>,
    data: &RawValue,
    gone: watch::Receiver<bool>,
) -> Result<(), HandlerError> {
    if let Some(mut stdin) = stdin {
        tokio::select! {
            _ = stdin.write_all(data.get().as_bytes()) => {}
            () = left_open(gone) => {}
        }
    }
    Ok(())
}

/// Reads the whole output, or as much as shows that it is too much.
async fn read(
    output: Option<impl AsyncRead + Unpin>,
    max: usize,
    gone: watch::Receiver<bool>,
) -> Result<Vec<u8>, HandlerError> {
    let mut bytes = Vec::new();
    if let Some(output) = output {
        let mut output = output.take(max as u64 + 1);
        tokio::select! {
            read = output.read_to_end(&mut bytes) => drop(read?),
            () = left_open(gone) => {}
        }
    }
    if bytes.len() > max {
        let message = format!("the command printed more than {max} bytes (limits.answer)");
        return Err(HandlerError::with_code(Code::TooLarge, message));
    }
    Ok(bytes)
}

/// Passes stderr on to the log, line by line, under the job's id.
async fn log(
    stderr: Option<impl AsyncRead + Unpin>,
    job: &Request,
    gone: watch::Receiver<bool>,
) -> Result<(), HandlerError> {
    let Some(stderr) = stderr else { return Ok(()) };
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    let mut left_open = pin!(left_open(gone));
    loop {
        line.clear();
        let mut limited = (&mut stderr).take(LOG_LINE);
        let read = tokio::select! {
            read = limited.read_until(b'\n', &mut line) => read?,
            () = &mut left_open => 0,
        };
        if read == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        tracing::info!(id = job.id(), name = job.name(), "stderr: {}", text.trim_end());
    }
}

/// Ends when the command has been gone for a while, though its pipes are still open: a process that
/// has left its group holds them, and the answer must not wait for that one.
async fn left_open(mut gone: watch::Receiver<bool>) {
    // An error means that the command's end is not waited for any more, and neither are we.
    let _ = gone.wait_for(|gone| *gone).await;
    sleep(LEFT_OPEN).await;
}

fn answer(status: ExitStatus, output: &[u8]) -> Ending {
    if !status.success() {
        return Err(HandlerError::new(format!("the command ended with {status}")));
    }
    serde_json::from_slice::<Box<RawValue>>(output)
        .map_err(|error| HandlerError::new(format!("the command printed no JSON: {error}")))
}

/// Finds `name` like a shell does: with a slash relative to `dir`, else on `PATH`.
fn find_program(name: &str, dir: &Path) -> Result<PathBuf, String> {
    if name.contains('/') {
        let path = dir.join(name);
        return if is_executable(&path) {
            Ok(path)
        } else {
            Err(format!("`{}` is not an executable file", path.display()))
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| is_executable(p));
    found.ok_or_else(|| format!("the program `{name}` is not on PATH; install it or give its path"))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
