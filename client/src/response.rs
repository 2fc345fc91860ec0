//! What a call gives back.

use redcall_common::frame::Frame;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::CallError;

/// How well Redis keeps what it said was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// In Redis's memory, and as safe as its own persistence settings make it.
    Memory,
}

/// A request that Redis has queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The request's id.
    pub id: String,
    /// The queue it went to.
    pub queue: String,
    /// What Redis promised.
    pub durability: Durability,
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
        if let Some(error) = frame.error {
            return Err(CallError::Failed(error));
        }
        let data = frame.data.unwrap_or_else(|| RawValue::NULL.to_owned());
        Ok(Self { data, response_key, id: frame.id })
    }
}
