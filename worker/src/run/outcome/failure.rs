//! The log line about a request without an answer: the error that its caller gets, and the causes,
//! which the caller does not get.
//!
//! `mod.rs` logs the end of a run; a request that ends without a run is logged where that is
//! decided. `log/repeats.rs` bounds and counts the lines.

use std::time::Duration;

use redcall_common::error::{Code, WireError};
use redcall_common::time::millis;

use crate::run::job::Job;

/// Longest part of a message, and of its causes, in a line, bytes.
const SHOWN: usize = 2 << 10;

/// The step that follows a failed run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextStep {
    /// The caller gets the error.
    Answered,
    /// The request becomes a dead letter; its caller, if it waits, gets the error.
    DeadLettered,
    /// Another run follows after this delay.
    Retried(Duration),
    /// Another run follows at once: this one counts as a crash.
    Rerun,
    /// No step follows: the request was answered before.
    Nothing,
}

impl NextStep {
    fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::DeadLettered => "dead-lettered",
            Self::Retried(_) => "retried",
            Self::Rerun => "rerun",
            Self::Nothing => "none",
        }
    }
}

/// Logs that a run of `job` failed. A cancelled run is logged at `info`: its caller requested that.
pub(crate) fn log_run(job: &Job, error: &WireError, cause: Option<&str>, next: NextStep) {
    let (id, name, queue) = (&*job.request.id, &*job.request.name, job.keys.queue.name());
    let (attempt, duration_ms) = (job.attempt(), millis(job.started.elapsed()));
    let (code, message, cause) = (error.code, shown(&error.message), cause.map(shown));
    let retry_in_ms = match next {
        NextStep::Retried(pause) => Some(millis(pause)),
        NextStep::Answered | NextStep::DeadLettered | NextStep::Rerun | NextStep::Nothing => None,
    };
    let next = next.name();
    match code {
        Code::Cancelled => tracing::info!(
            id,
            name,
            queue,
            attempt,
            duration_ms,
            %code,
            cause,
            next,
            "cancelled: {message}"
        ),
        _ => tracing::warn!(
            id,
            name,
            queue,
            attempt,
            duration_ms,
            %code,
            cause,
            next,
            retry_in_ms,
            "failed: {message}"
        ),
    }
}

/// Logs that the request `id` of `queue` ends without a run. `name` is its job, if it is readable.
/// A cancelled request is logged at `debug` only.
pub(crate) fn log_refused(
    id: &str,
    name: Option<&str>,
    queue: &str,
    attempt: u32,
    error: &WireError,
    cause: Option<&str>,
) {
    let (code, message, cause) = (error.code, shown(&error.message), cause.map(shown));
    match code {
        Code::Cancelled => tracing::debug!(id, name, queue, attempt, "cancelled: {message}"),
        _ => tracing::warn!(id, name, queue, attempt, %code, cause, "not run: {message}"),
    }
}

fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN)]
}
