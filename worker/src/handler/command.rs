//! A process per job: data as JSON on stdin, answer as JSON on stdout, stderr into the log.
//!
//! The process leads its own process group. The end of the job ends the whole group, including
//! processes that the command started: by SIGTERM and, after `worker.cancel_grace`, SIGKILL if the
//! run is cancelled; by SIGKILL alone otherwise.

use std::pin::pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use redcall_common::error::Code;
use redcall_common::settings::ProgramEnv;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::watch;
use tokio::time::sleep;

use super::bounds::Bounds;
use super::error::{HandlerError, HandlerResult};
use super::interface::{Handler, Running};
use super::paced::{LARGE, Paced, SMALL_READS};
use super::program::budget::Budget;
use super::program::group::Group;
use super::program::stderr::{Lines, TARGET};
use super::program::{Launch, Program, ProgramContext};
use crate::handler::compiled::state::StateMap;
use crate::run::request::Request;

/// How long the pipes stay in use after the command has ended.
const PIPES_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs a program for each job.
pub(crate) struct CommandHandler {
    program: Program,
    bounds: Bounds,
    budget: Arc<Budget>,
}

impl CommandHandler {
    /// # Errors
    ///
    /// As [`Program::find`].
    pub(crate) fn new(
        job: &str,
        command: &[String],
        env: &ProgramEnv,
        context: &ProgramContext<'_>,
    ) -> Result<Self, String> {
        let program = Program::find(command, env, context)?;
        Ok(Self { program, bounds: context.bounds, budget: Budget::of(job) })
    }

    fn launch(&self, request: &Request) -> Launch {
        let mut launch = self.program.launch();
        launch.env("REDCALL_JOB_ID", request.id());
        launch.env("REDCALL_JOB_NAME", request.name());
        if let Some(left) = request.remaining() {
            launch.env("REDCALL_BUDGET_MS", &left.as_millis().to_string());
        }
        launch
    }
}

impl Handler for CommandHandler {
    fn describe(&self) -> String {
        format!("command {}", self.program.describe())
    }

    fn check(&self, _: &StateMap) -> Result<(), String> {
        Ok(())
    }

    fn call(&self, request: Request) -> Running {
        let launch = self.launch(&request);
        Box::pin(run(launch, self.bounds, self.budget.clone(), request))
    }
}

async fn run(
    launch: Launch,
    bounds: Bounds,
    budget: Arc<Budget>,
    request: Request,
) -> HandlerResult {
    // Checked before the process exists: until the handler requests its cancellation token, a
    // cancelled run is dropped, and its process would be killed without a SIGTERM.
    if request.is_cancelled() {
        return Err(HandlerError::with_code(
            Code::Cancelled,
            "cancelled before the command was started",
        ));
    }
    let (mut child, group) = launch.spawn().map_err(|error| {
        HandlerError::with_code(Code::Internal, "the command cannot be started").caused_by(&error)
    })?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (gone, has_ended) = watch::channel(false);
    let ended = async {
        let status = end(child, group, &request, bounds.cancel_grace).await?;
        gone.send_replace(true);
        Ok(status)
    };
    let (status, output, (), ()) = tokio::try_join!(
        ended,
        read(stdout, bounds.max_answer, has_ended.clone()),
        feed(stdin, request.data(), has_ended.clone()),
        log(stderr, &budget, &request, has_ended),
    )?;
    match status {
        Some(status) => answer(status, &output),
        None => Err(HandlerError::with_code(Code::Cancelled, "the command was terminated")),
    }
}

/// Waits for the command's end, and ends its remaining processes, which would hold the pipes open.
/// Returns `None` if the run was cancelled.
async fn end(
    mut child: Child,
    group: Group,
    request: &Request,
    grace: Duration,
) -> Result<Option<ExitStatus>, HandlerError> {
    let status = tokio::select! {
        status = child.wait() => Some(status?),
        () = request.cancelled() => None,
    };
    if status.is_none() {
        // Its pipes are read meanwhile: its last lines are logged.
        group.end(&mut child, grace).await;
    }
    drop(group);
    Ok(status)
}

/// Writes the data. A command may ignore it.
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

/// Reads the output up to one byte beyond the limit.
async fn read(
    output: Option<ChildStdout>,
    max: usize,
    gone: watch::Receiver<bool>,
) -> Result<Vec<u8>, HandlerError> {
    let mut bytes = Vec::new();
    if let Some(output) = output {
        let is_free = |piece: &[u8]| piece.len() >= LARGE;
        let output = Paced::pipe(output.into_owned_fd(), SMALL_READS, is_free)?;
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

/// Logs stderr line by line, under the job's id.
async fn log(
    stderr: Option<ChildStderr>,
    budget: &Arc<Budget>,
    job: &Request,
    gone: watch::Receiver<bool>,
) -> Result<(), HandlerError> {
    let Some(stderr) = stderr else { return Ok(()) };
    let mut lines = Lines::of(stderr, budget)?;
    let mut left_open = pin!(left_open(gone));
    loop {
        let more = tokio::select! {
            more = lines.next(|line| {
                let (id, name, attempt) = (job.id(), job.name(), job.attempt());
                tracing::info!(target: TARGET, id, name, attempt, "stderr: {line}");
            }) => more?,
            () = &mut left_open => return Ok(()),
        };
        if more.is_break() {
            return Ok(());
        }
    }
}

/// Completes some time after the command's end, even if its pipes are still open: a process that
/// left the group may hold them, and must not delay the answer.
async fn left_open(mut gone: watch::Receiver<bool>) {
    // The sender is dropped when nothing waits for the command's end any more.
    let _ = gone.wait_for(|gone| *gone).await;
    sleep(PIPES_TIMEOUT).await;
}

fn answer(status: ExitStatus, output: &[u8]) -> HandlerResult {
    if !status.success() {
        return Err(HandlerError::new(format!("the command ended with {status}")));
    }
    serde_json::from_slice::<Box<RawValue>>(output).map_err(|error| {
        HandlerError::new(format!("the command must print its answer as JSON: {error}"))
    })
}
