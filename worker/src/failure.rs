//! The log line about a request without an answer: the error that its caller gets, and the causes,
//! which the caller does not get.
//!
//! `outcome.rs` logs the end of a run; a request that ends without a run is logged where that is
//! decided. `log/repeats.rs` bounds and counts the lines.

use std::error::Error;
use std::time::Duration;

use redcall_common::error::{Code, WireError};
use redcall_common::time::millis;

use crate::job::Job;

/// Longest part of a message, and of its causes, in a line, bytes.
const SHOWN: usize = 2 << 10;
/// Most causes in a line: a chain may be circular.
const CAUSES: usize = 16;

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

/// Logs that a run of `job` failed. A cancelled run is logged at `info`: its caller asked for that.
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

/// Returns the causes of `error` without itself, outermost first; `None` if it has none.
pub(crate) fn causes(error: &dyn Error) -> Option<String> {
    let (mut texts, mut last) = (Vec::new(), error.to_string());
    let mut next = error.source();
    for _ in 0..CAUSES {
        let Some(cause) = next else { break };
        let text = cause.to_string();
        // Some errors end with the text of their cause.
        if !last.ends_with(&text) {
            texts.push(text.clone());
        }
        (last, next) = (text, cause.source());
    }
    (!texts.is_empty()).then(|| texts.join(": "))
}

/// Returns `error` with its causes, for a field of a line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = causes(error).map(|causes| format!(": {causes}")).unwrap_or_default();
    format!("{error}{causes}")
}

fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN)]
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    /// An error with another error as its cause.
    #[derive(Debug)]
    struct Over(&'static str, Option<Box<Over>>);

    impl fmt::Display for Over {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Over {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as &dyn Error)
        }
    }

    #[test]
    fn causes_are_listed_outermost_first() {
        let over = |text, cause| Over(text, Some(Box::new(cause)));
        let error = over("a", over("b", over("b", Over("c", None))));
        assert_eq!(causes(&error).as_deref(), Some("b: c"));
        assert_eq!(causes(&Over("a", None)), None);
        let long = (0..100)
            .fold(Over("end", None), |cause, n| over(if n % 2 == 0 { "x" } else { "y" }, cause));
        assert_eq!(causes(&long).unwrap().split(": ").count(), CAUSES);
    }
}
