//! What a compiled-in handler may return.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::extract::Json;
use crate::handler::{Ending, HandlerError};

/// Becomes the answer of a job.
///
/// For `()` (the answer is `null`), [`Json`], `serde_json::Value`, and a `Result` of one of them
/// and anything that becomes a [`HandlerError`].
pub trait IntoAnswer {
    /// The answer as JSON, or why there is none.
    ///
    /// # Errors
    ///
    /// What the handler returned as an error, or that its answer cannot be written as JSON.
    fn into_answer(self) -> Result<Box<RawValue>, HandlerError>;
}

impl IntoAnswer for () {
    fn into_answer(self) -> Ending {
        Ok(RawValue::NULL.to_owned())
    }
}

impl<T: Serialize> IntoAnswer for Json<T> {
    fn into_answer(self) -> Ending {
        to_raw_value(&self.0)
            .map_err(|error| HandlerError::new(format!("the answer is not JSON: {error}")))
    }
}

impl IntoAnswer for serde_json::Value {
    fn into_answer(self) -> Ending {
        Json(self).into_answer()
    }
}

impl<T: IntoAnswer, E: Into<HandlerError>> IntoAnswer for Result<T, E> {
    fn into_answer(self) -> Ending {
        self.map_err(Into::into)?.into_answer()
    }
}
