//! The result of a handler, and its error.

use std::time::Duration;

use redcall_common::error::{Code, WireError};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::causes::{causes, with_causes};

/// The result of a handler.
pub(crate) type HandlerResult = Result<Box<RawValue>, HandlerError>;

/// The error of a handler. Message and data go to the caller, the cause to the worker's log.
///
/// ```
/// use std::time::Duration;
///
/// use redcall_worker::HandlerError;
/// use serde_json::json;
///
/// async fn print() -> Result<(), HandlerError> {
///     let error = HandlerError::new("out of paper").data(&json!({"tray": 2}));
///     Err(error.retry_after(Duration::from_secs(60))) // if the mapping of the job has `retries`
/// }
/// # use redcall_worker::Worker;
/// # redcall_testkit::example::with_worker(|settings| {
/// # let worker = Worker::from_settings(settings)?.handler("print", print);
/// # Ok(worker) }, async |client| {
/// # use redcall_testkit::example::redcall_client::CallError;
/// let Err(CallError::Failed(error)) = client.call_and_wait("print", &()).await else { panic!() };
/// assert_eq!(error.message, "out of paper");
/// assert_eq!(error.data.expect("data").get(), r#"{"tray":2}"#);
/// # Ok(()) });
/// ```
#[derive(Debug)]
pub struct HandlerError {
    pub(crate) error: WireError,
    /// Only logged.
    pub(crate) cause: Option<String>,
    pub(crate) retry_after: Option<Duration>,
}

impl HandlerError {
    /// Returns an error with the code `handler_failed`.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self::with_code(Code::HandlerFailed, message)
    }

    /// Adds `data` for the caller; omits it if it cannot be serialised as JSON.
    #[must_use]
    pub fn data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.error.data = to_raw_value(data).ok();
        self
    }

    /// Requests a retry after `pause`, a day at most, if the job's mapping has `retries` left.
    /// Overrides `retries.on`.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// Adds a cause for the worker's log: `error`, and its own causes. The caller does not get it.
    #[must_use]
    pub fn caused_by(mut self, error: &dyn std::error::Error) -> Self {
        self.cause = Some(with_causes(error));
        self
    }

    /// Returns an error with any code, for handlers that pass on the error of another system.
    #[must_use]
    pub fn with_code(code: Code, message: impl Into<String>) -> Self {
        Self::of(WireError::new(code, message))
    }

    pub(crate) fn of(error: WireError) -> Self {
        Self { error, cause: None, retry_after: None }
    }
}

impl<E: std::error::Error> From<E> for HandlerError {
    /// The caller gets the error's message without its causes, which are logged.
    fn from(error: E) -> Self {
        Self { cause: causes(&error), ..Self::new(error.to_string()) }
    }
}
