//! Encoding of frames, with their signatures.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::rules::error::WireError;
use crate::wire::auth::{FrameClaims, Seal, Signer};
use crate::wire::frame::{Deferral, FrameType};

#[derive(Serialize)]
struct Encoded<'a> {
    id: &'a str,
    response_key: &'a str,
    #[serde(rename = "type")]
    kind: FrameType,
    seq: u64,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    notify: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a WireError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<Seal>,
}

/// The common fields of all frames of one attempt.
#[derive(Debug, Clone, Copy)]
pub struct FrameHead<'a> {
    /// The request's id.
    pub id: &'a str,
    /// The response key.
    pub response_key: &'a str,
    /// The number of the run, counted from 1; 0 before the first.
    pub attempt: u32,
    /// Signs the frames, if the request was signed.
    pub signer: Option<&'a Signer>,
}

impl FrameHead<'_> {
    /// Encodes a frame other than an error, with or without data.
    #[must_use]
    pub fn data(&self, kind: FrameType, seq: u64, data: Option<&RawValue>) -> String {
        self.encode(self.claims(kind, seq, data, None))
    }

    /// Encodes the frame of a deferred answer.
    #[must_use]
    pub fn deferred(&self, seq: u64, deferral: Deferral, data: &RawValue) -> String {
        let claims = self.claims(FrameType::Deferred, seq, Some(data), None);
        self.encode(FrameClaims { deferral, ..claims })
    }

    /// Encodes the final frame of a request without an answer.
    #[must_use]
    pub fn error(&self, seq: u64, error: &WireError) -> String {
        self.encode(self.claims(FrameType::Error, seq, None, Some(error)))
    }

    /// Returns the part of such a frame after id and response key: scripts replace those.
    #[must_use]
    pub fn tail<'f>(&self, frame: &'f str) -> &'f str {
        let start = format!(r#"{{"id":"{}","response_key":"{}""#, self.id, self.response_key);
        frame.strip_prefix(&*start).unwrap_or_default()
    }

    fn claims<'a>(
        &'a self,
        kind: FrameType,
        seq: u64,
        data: Option<&'a RawValue>,
        error: Option<&'a WireError>,
    ) -> FrameClaims<'a> {
        let Self { id, response_key, attempt, signer: _ } = *self;
        let deferral = Deferral::default();
        FrameClaims { id, response_key, kind, seq, attempt, deferral, data, error }
    }

    fn encode(&self, claims: FrameClaims<'_>) -> String {
        let auth = self.signer.map(|signer| signer.seal(&claims));
        let FrameClaims { id, response_key, kind, seq, attempt, deferral, data, error } = claims;
        let Deferral { notify, until_ms } = deferral;
        let frame =
            Encoded { id, response_key, kind, seq, attempt, notify, until_ms, data, error, auth };
        // Strings, numbers and JSON text always serialise.
        serde_json::to_string(&frame).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::error::Code;
    use crate::wire::frame::Frame;

    #[test]
    fn the_wire_bytes_of_frames_are_fixed() {
        let response_key = "redcall:{q}:response:x1";
        let head = FrameHead { id: "x1", response_key, attempt: 1, signer: None };
        let data = RawValue::from_string(r#"{"answer":2}"#.into()).unwrap();
        let start = r#"{"id":"x1","response_key":"redcall:{q}:response:x1","type":"#;
        assert_eq!(
            head.data(FrameType::Result, 1, Some(&data)),
            format!(r#"{start}"result","seq":1,"attempt":1,"data":{{"answer":2}}}}"#)
        );
        let deferral = Deferral { notify: Some(true), until_ms: Some(5) };
        let end = r#""notify":true,"until_ms":5,"data":{"answer":2}}"#;
        assert_eq!(
            head.deferred(1, deferral, &data),
            format!(r#"{start}"deferred","seq":1,"attempt":1,{end}"#)
        );
        let error = head.error(2, &WireError::new(Code::HandlerFailed, "no"));
        let wire = r#"{"code":"handler_failed","message":"no"}"#;
        assert_eq!(error, format!(r#"{start}"error","seq":2,"attempt":1,"error":{wire}}}"#));
        let frame: Frame = serde_json::from_str(&error).unwrap();
        assert!(frame.kind.ends());
        assert_eq!(frame.error.unwrap().code, Code::HandlerFailed);
    }
}
