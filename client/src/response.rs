//! Results of a call.

use redcall_common::durability::Durability;
use redcall_common::error::{Code, WireError};
use redcall_common::frame::{Frame, FrameType};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::CallError;

/// A request that Redis has enqueued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The request's id.
    pub id: String,
    /// The queue of the request.
    pub queue: String,
    /// The durability level confirmed within the call's timeout. May be lower than requested; the
    /// job is queued either way.
    pub durability: Durability,
    /// `true` if the request joined an existing call under its idempotency key: `id` is that of the
    /// existing request, and nothing new was enqueued.
    pub deduplicated: bool,
}

/// The answer to a call.
#[derive(Debug, Clone)]
pub struct Response {
    /// The answer, as JSON.
    pub data: Box<RawValue>,
    /// The response key that held it.
    pub response_key: String,
    /// The request's id.
    pub id: String,
}

impl Response {
    /// Deserializes the answer.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use serde_json::json;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Sum {
    ///     answer: i64,
    /// }
    ///
    /// let response = client.call_and_wait("add", &json!({"a": 1, "b": 2})).await?;
    /// assert_eq!(response.data.get(), r#"{"answer":3}"#);
    /// assert_eq!(response.json::<Sum>()?.answer, 3);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// [`CallError::Decode`] if the answer is not a valid `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_str(self.data.get()).map_err(CallError::Decode)
    }

    /// Converts a final frame.
    pub(crate) fn from_frame(frame: Frame, response_key: String) -> Result<Self, CallError> {
        if frame.kind == FrameType::Error {
            let nameless = || WireError::new(Code::Internal, "the worker gave no reason");
            return Err(CallError::Failed(frame.error.map_or_else(nameless, |error| *error)));
        }
        let data = frame.data.unwrap_or_else(|| RawValue::NULL.to_owned());
        Ok(Self { data, response_key, id: frame.id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_type_decides_result() {
        let read = |json: &str| {
            let frame = serde_json::from_str(json).unwrap();
            Response::from_frame(frame, "key".to_owned())
        };
        let error = read(r#"{"id":"a","type":"error"}"#).unwrap_err();
        assert_eq!(error.code(), Code::Internal);
        let error = r#"{"code":"cancelled","message":"no"}"#;
        let error = read(&format!(r#"{{"id":"a","type":"error","error":{error}}}"#)).unwrap_err();
        assert_eq!(error.code(), Code::Cancelled);
        let error = r#"{"code":"cancelled","message":"no"}"#;
        let answer = format!(r#"{{"id":"a","type":"result","data":1,"error":{error}}}"#);
        assert_eq!(read(&answer).unwrap().data.get(), "1");
    }
}
