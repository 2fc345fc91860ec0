//! Return types of compiled-in handlers.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::handler::compiled::extract::Json;
use crate::handler::error::{HandlerError, HandlerResult};

/// A value that a compiled-in handler returns, converted to the answer of its job.
///
/// Implemented for `()` (the answer is `null`), [`Json`], `serde_json::Value`, and a `Result` of
/// one of them and any type that converts to [`HandlerError`].
///
/// ```
/// use redcall_worker::{HandlerError, Json};
///
/// async fn parse(Json(text): Json<String>) -> Result<Json<i64>, HandlerError> {
///     Ok(Json(text.parse()?)) // the caller gets the message of an error
/// }
/// # use redcall_worker::Worker;
/// # redcall_testkit::example::with_worker(|settings| {
/// # let worker = Worker::from_settings(settings)?.handler("parse", parse);
/// # Ok(worker) }, async |client| {
/// assert_eq!(client.call_and_wait("parse", "42").await?.json::<i64>()?, 42);
/// let error = client.call_and_wait("parse", "six").await.unwrap_err();
/// assert_eq!(error.to_string(), "handler_failed: invalid digit found in string");
/// # Ok(()) });
/// ```
pub trait IntoAnswer {
    /// Returns the answer as JSON.
    ///
    /// # Errors
    ///
    /// The error that the handler returned, or an error if the answer cannot be serialised as JSON.
    fn into_answer(self) -> Result<Box<RawValue>, HandlerError>;
}

impl IntoAnswer for () {
    fn into_answer(self) -> HandlerResult {
        Ok(RawValue::NULL.to_owned())
    }
}

impl<T: Serialize> IntoAnswer for Json<T> {
    fn into_answer(self) -> HandlerResult {
        to_raw_value(&self.0).map_err(|error| {
            HandlerError::new(format!("the answer cannot be serialised as JSON: {error}"))
        })
    }
}

impl IntoAnswer for serde_json::Value {
    fn into_answer(self) -> HandlerResult {
        Json(self).into_answer()
    }
}

impl<T: IntoAnswer, E: Into<HandlerError>> IntoAnswer for Result<T, E> {
    fn into_answer(self) -> HandlerResult {
        self.map_err(Into::into)?.into_answer()
    }
}
