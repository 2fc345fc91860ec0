//! What a call gives back.

use redcall_common::durability::Durability;
use redcall_common::error::{Code, WireError};
use redcall_common::frame::{Frame, FrameType};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::CallError;

/// A request that Redis has queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The request's id.
    pub id: String,
    /// The queue it went to.
    pub queue: String,
    /// How safe it is for certain. Less than was asked for when that was not reached, or could not
    /// be told, within the call's timeout; it is queued all the same.
    pub durability: Durability,
    /// Whether a call of the same idempotency key was there before: `id` is then that of its
    /// request, which runs or has run, and nothing new was queued.
    pub deduplicated: bool,
}

/// The answer to a call.
#[derive(Debug, Clone)]
pub struct Response {
    /// The answer, as JSON.
    pub data: Box<RawValue>,
    /// The key at which it lay.
    pub response_key: String,
    /// The request's id.
    pub id: String,
}

impl Response {
    /// The answer as a `T`.
    ///
    /// # Errors
    ///
    /// [`CallError::Decode`] when it is not one.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_str(self.data.get()).map_err(CallError::Decode)
    }

    /// Reads an ending frame.
    pub(crate) fn from_frame(frame: Frame, response_key: String) -> Result<Self, CallError> {
        if frame.kind == FrameType::Error {
            let nameless = || WireError::new(Code::Internal, "the worker gave no reason");
            return Err(CallError::Failed(frame.error.unwrap_or_else(nameless)));
        }
        let data = frame.data.unwrap_or_else(|| RawValue::NULL.to_owned());
        Ok(Self { data, response_key, id: frame.id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_frame_decides() {
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
