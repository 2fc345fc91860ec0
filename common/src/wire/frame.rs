//! The elements of a response key, as both ends write and read them.
//!
//! Workers encode, clients decode. The worker decides which frames follow each other.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::rules::error::WireError;

/// The type of a frame. `Result` and `Error` end the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameType {
    /// The request is queued; written by a caller that submits it. Has no data.
    Pending,
    /// The handler returned without an answer; a completion token settles the request later.
    Deferred,
    /// Another attempt starts: its number is the frame's `attempt`. Has no data.
    Restarted,
    /// The handler's progress.
    Progress,
    /// A part of a streamed answer.
    Chunk,
    /// The answer.
    Result,
    /// The error, if there is no answer.
    Error,
}

impl FrameType {
    /// Returns `true` if this frame is final.
    #[must_use]
    pub const fn ends(self) -> bool {
        matches!(self, Self::Result | Self::Error)
    }

    /// Returns its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Deferred => "deferred",
            Self::Restarted => "restarted",
            Self::Progress => "progress",
            Self::Chunk => "chunk",
            Self::Result => "result",
            Self::Error => "error",
        }
    }
}

/// The members of a `deferred` frame that state how the answer ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deferral {
    /// `true` if the end will be published on the topic `command_result`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<bool>,
    /// When the request ends unsettled, Redis time, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

/// One element of a response key. [`Frame::parse`] reads all of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Frame {
    /// The request's id.
    pub id: String,
    /// The frame's type.
    #[serde(rename = "type")]
    pub kind: FrameType,
    /// Position within its attempt, without gaps from 1; 0 for the caller's own frame.
    #[serde(default)]
    pub seq: u64,
    /// The run that wrote it, counted from 1; 0 before the first.
    #[serde(default)]
    pub attempt: u32,
    /// The answer, part or progress, as JSON.
    #[serde(default)]
    pub data: Option<Box<RawValue>>,
    /// Set on `error` frames.
    #[serde(default)]
    pub error: Option<Box<WireError>>,
    /// Its signature, as JSON: a [`Seal`](crate::auth::Seal) if it is valid.
    #[serde(default)]
    pub auth: Option<Box<RawValue>>,
    /// On `deferred` frames: how the answer ends. Not read by `Deserialize`: two more members would
    /// make every frame slower to read, and few frames have them.
    #[serde(skip)]
    pub deferral: Option<Box<Deferral>>,
}

impl Frame {
    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// If the bytes are not the JSON of a frame.
    pub fn parse(raw: &[u8]) -> serde_json::Result<Self> {
        // At once: serde_json checks the UTF-8 of each text, which takes longer.
        let raw = std::str::from_utf8(raw).map_err(serde::de::Error::custom)?;
        serde_json::from_str::<Self>(raw)?.complete(raw)
    }

    /// Adds the members that `Deserialize` does not read, from the JSON of this frame.
    ///
    /// # Errors
    ///
    /// If they have other types.
    #[inline]
    pub fn complete(mut self, raw: &str) -> serde_json::Result<Self> {
        if self.kind == FrameType::Deferred {
            self.deferral = Some(serde_json::from_str(raw)?);
        }
        Ok(self)
    }
}
