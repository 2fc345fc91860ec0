//! An error of a call as protocols map it: a code, a public message, data.

use redcall_client::{CallError, Code, WireError};
use redcall_worker::HandlerError;
use serde_json::value::RawValue;

use super::outward;

/// An error of a call. Each protocol maps its code by the table of its specification, in one match
/// without a wildcard.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// For the foreign side; never internals.
    pub(crate) message: String,
    /// Data that the handler attached, as JSON.
    pub(crate) data: Option<Box<RawValue>>,
    /// `true` if a worker ended the request with this error; `false` if it was not queued, or
    /// nothing was received in time.
    pub(crate) was_answered: bool,
}

impl Failure {
    /// Creates an error of the gateway itself.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None, was_answered: false }
    }

    /// Adds `data`, JSON text such as `{"code": -32601}`; omits it if it is not JSON.
    pub(crate) fn with_data(mut self, data: String) -> Self {
        self.data = RawValue::from_string(data).ok();
        self
    }

    /// The job is unknown here.
    pub(crate) fn unknown_job(foreign: &str) -> Self {
        Self::new(Code::UnknownJob, format!("unknown job `{}`", outward::shortened(foreign)))
    }

    fn of(error: WireError, was_answered: bool) -> Self {
        Self { code: error.code, message: error.message, data: error.data, was_answered }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let code = error.code();
        match error {
            CallError::Failed(error) => Self::of(error, true),
            // The address of Redis and its errors are internal.
            CallError::Rejected { source: Some(source), error }
            | CallError::Refused { source: Some(source), error } => {
                tracing::warn!(error = %source, "Redis refused a command of a gateway");
                let message = match error.code {
                    Code::Overloaded => "Redis has no memory left; not queued",
                    _ => "Redis cannot be reached; not queued",
                };
                Self { message: message.to_owned(), ..Self::of(error, false) }
            }
            CallError::Rejected { source: None, error }
            | CallError::Refused { source: None, error } => Self::of(error, false),
            CallError::Unknown { .. } | CallError::Unanswered { .. } => {
                Self::new(code, "Redis did not confirm the request; it may be queued")
            }
            CallError::TimedOut => Self::new(code, "no answer in time; the job may have run"),
            CallError::Cancelled => Self::new(code, "the call was cancelled"),
            CallError::Encode(_) => Self::new(code, "the data are not JSON"),
            CallError::Decode(_) => Self::new(code, "the answer is not of the expected type"),
        }
    }
}

impl From<Failure> for HandlerError {
    fn from(failure: Failure) -> Self {
        let error = Self::with_code(failure.code, failure.message);
        match &failure.data {
            Some(data) => error.data(data),
            None => error,
        }
    }
}
