//! A process per job: data as JSON on stdin, answer as JSON on stdout, stderr into the log.
//!
//! The process leads a group of its own. Whatever ends the job ends the group, also what the
//! command itself has started: by SIGTERM and, after `worker.cancel_grace`, SIGKILL where the run
//! is not wanted any more, by SIGKILL alone where there is no time for that.

use std::pin::pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use redcall_common::decode::{data_fits, error_data_fits};
use redcall_common::error::Code;
use redcall_common::settings::ProgramEnv;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::watch;
use tokio::time::sleep;

use super::budget::Budget;
use super::group::Group;
use super::paced::{LARGE, Paced, SMALL_READS};
use super::program::{Launch, Program};
use super::stderr::{Lines, TARGET};
use super::{Ending, Handler, HandlerError, Place, Running};
use crate::request::Request;
use crate::state::States;

/// How long the pipes are used on after the command has ended.
const LEFT_OPEN: Duration = Duration::from_millis(500);

/// Runs a program for each job.
pub(crate) struct CommandHandler {
    program: Program,
    bounds: Bounds,
    budget: Arc<Budget>,
}

/// What bounds every run of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Largest answer, bytes.
    pub(crate) max_answer: usize,
    /// How deep the JSON of a frame may nest, levels.
    pub(crate) depth: usize,
    /// Time between SIGTERM and SIGKILL.
    pub(crate) cancel_grace: Duration,
}

impl Bounds {
    /// Refuses data of a frame that nest too deep: readers of many languages fail on such.
    ///
    /// # Errors
    ///
    /// `too_large`.
    pub(super) fn check_depth(&self, data: &[u8]) -> Result<(), HandlerError> {
        if data_fits(data, self.depth) {
            return Ok(());
        }
        let limit = self.depth;
        let message =
            format!("the frame of the answer would nest deeper than {limit} levels (limits.depth)");
        Err(HandlerError::with_code(Code::TooLarge, message))
    }

    /// Returns `true` if the data of an error may stand in its frame.
    pub(super) fn is_shallow_detail(&self, data: &str) -> bool {
        error_data_fits(data.as_bytes(), self.depth)
    }
}

impl CommandHandler {
    /// # Errors
    ///
    /// As [`Program::find`].
    pub(crate) fn new(
        job: &str,
        command: &[String],
        env: &ProgramEnv,
        place: &Place<'_>,
    ) -> Result<Self, String> {
        let program = Program::find(command, env, place)?;
        Ok(Self { program, bounds: place.bounds, budget: Budget::of(job) })
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

    fn check(&self, _: &States) -> Result<(), String> {
        Ok(())
    }

    fn call(&self, request: Request) -> Running {
        let launch = self.launch(&request);
        Box::pin(run(launch, self.bounds, self.budget.clone(), request))
    }
}

async fn run(launch: Launch, bounds: Bounds, budget: Arc<Budget>, request: Request) -> Ending {
    // Before there is a process: who has not yet asked for the end of its run is dropped with it,
    // and this one would be killed without a SIGTERM.
    if request.is_cancelled() {
        return Err(HandlerError::with_code(Code::Cancelled, "cancelled before it was started"));
    }
    let (mut child, group) = launch.spawn().map_err(|error| {
        HandlerError::with_code(Code::Internal, "the command cannot be started").caused_by(&error)
    })?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (gone, heard) = watch::channel(false);
    let ended = async {
        let status = end(child, group, &request, bounds.cancel_grace).await?;
        gone.send_replace(true);
        Ok(status)
    };
    let (status, output, (), ()) = tokio::try_join!(
        ended,
        read(stdout, bounds.max_answer, heard.clone()),
        feed(stdin, request.data(), heard.clone()),
        log(stderr, &budget, &request, heard),
    )?;
    match status {
        Some(status) => answer(status, &output, bounds),
        None => Err(HandlerError::with_code(Code::Cancelled, "the command was asked to end")),
    }
}

/// Waits for the command's end, and ends what it has left behind, which would hold its pipes open.
/// None if it was asked to end, since the run was not wanted any more.
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
        // Its pipes are served on meanwhile: what it says at its end is logged.
        group.end(&mut child, grace).await;
    }
    drop(group);
    Ok(status)
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

/// Passes stderr on to the log, line by line, under the job's id.
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

/// Ends when the command has been gone for a while, though its pipes are still open: a process that
/// has left its group holds them, and the answer must not wait for that one.
async fn left_open(mut gone: watch::Receiver<bool>) {
    // An error means that the command's end is not waited for any more, and neither are we.
    let _ = gone.wait_for(|gone| *gone).await;
    sleep(LEFT_OPEN).await;
}

fn answer(status: ExitStatus, output: &[u8], bounds: Bounds) -> Ending {
    if !status.success() {
        return Err(HandlerError::new(format!("the command ended with {status}")));
    }
    bounds.check_depth(output)?;
    serde_json::from_slice::<Box<RawValue>>(output)
        .map_err(|error| HandlerError::new(format!("the command printed no JSON: {error}")))
}
