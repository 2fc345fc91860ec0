//! The status of a job: what its record beside the queue says, as both ends write and read it.
//!
//! The record is a stream, so that it can be followed without a gap. A state is an entry whose id
//! is its time.

use std::collections::HashMap;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::error::{Code, WireError};
use crate::event::EventId;

/// Longest message of an error in a record, bytes.
const MAX_MESSAGE: usize = 1 << 10;

/// What a job is doing. `Success` and `Error` end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Queued, or put off: it has not started yet.
    Pending,
    /// Started. Also while it waits to be tried again, or for another worker to take it over.
    Processing,
    /// Answered.
    Success,
    /// Ended without an answer.
    Error,
}

impl JobState {
    const ALL: [Self; 4] = [Self::Pending, Self::Processing, Self::Success, Self::Error];

    /// As it stands in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Processing => "Processing",
            Self::Success => "Success",
            Self::Error => "Error",
        }
    }

    /// Whether nothing follows it.
    #[must_use]
    pub const fn ends(self) -> bool {
        matches!(self, Self::Success | Self::Error)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for JobState {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.serialize_str(self.as_str())
    }
}

/// One state of a job, and since when it was in it.
#[derive(Debug, Clone, Serialize)]
pub struct JobStatus {
    /// The state.
    #[serde(rename = "status")]
    pub state: JobState,
    /// Since when, Redis time in ms.
    pub at_ms: u64,
    /// Which run of the job it is, or was the last one, counted from 1; 0 before the first.
    pub attempt: u32,
    /// The id of the worker that started this run; only of `Processing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Why there is no answer: code and message; only of `Error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<WireError>,
}

impl JobStatus {
    /// Reads an entry of a record; `None` if it is none.
    #[must_use]
    pub fn read(id: EventId, mut fields: HashMap<Vec<u8>, Vec<u8>>) -> Option<Self> {
        let mut text = |name: &str| {
            let value = fields.remove(name.as_bytes())?;
            Some(String::from_utf8_lossy(&value).into_owned())
        };
        let state = text("status")?;
        let state = JobState::ALL.into_iter().find(|known| known.as_str() == state)?;
        let attempt = text("attempt").and_then(|attempt| attempt.parse().ok()).unwrap_or(0);
        let code = text("code").map(|code| Code::parse(&code).unwrap_or(Code::Internal));
        let message = text("message").unwrap_or_default();
        let error = code.filter(|_| state == JobState::Error);
        let error = error.map(|code| WireError::new(code, message));
        let worker = text("worker").filter(|_| state == JobState::Processing);
        Some(Self { state, at_ms: id.ms, attempt, worker, error })
    }
}

/// How a job ended, for its record.
#[derive(Debug, Clone)]
pub struct StatusEnd {
    /// For how long the record is kept from then on, ms.
    pub ttl_ms: u64,
    /// Number of its last run; 0 if it never ran.
    pub attempt: u32,
    /// Why there is no answer; `None`: it was answered.
    pub error: Option<(Code, String)>,
}

impl StatusEnd {
    /// The fields of its entry, as a script gets them: a JSON array.
    #[must_use]
    pub fn fields(&self) -> String {
        let attempt = self.attempt.to_string();
        let mut fields = vec!["status", "", "attempt", &attempt];
        match &self.error {
            None => fields[1] = JobState::Success.as_str(),
            Some((code, message)) => {
                fields[1] = JobState::Error.as_str();
                let most = message.floor_char_boundary(MAX_MESSAGE);
                fields.extend(["code", code.as_str(), "message", &message[..most]]);
            }
        }
        // Strings alone: nothing here can fail to serialise.
        serde_json::to_string(&fields).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> Option<JobStatus> {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes().into(), (*value).into()));
        JobStatus::read(EventId { ms: 7, seq: 1 }, fields.collect())
    }

    #[test]
    fn an_end_is_read_as_it_was_written() {
        let error = Some((Code::Timeout, "ä".repeat(600)));
        let end = StatusEnd { ttl_ms: 1000, attempt: 2, error };
        let fields: Vec<String> = serde_json::from_str(&end.fields()).unwrap();
        let fields: Vec<(&str, &str)> =
            fields.chunks(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
        let status = read(&fields).unwrap();
        assert_eq!((status.state, status.at_ms, status.attempt), (JobState::Error, 7, 2));
        let error = status.error.unwrap();
        assert_eq!((error.code, error.message.len()), (Code::Timeout, 1024));
        let end = StatusEnd { ttl_ms: 1000, attempt: 1, error: None };
        assert_eq!(end.fields(), r#"["status","Success","attempt","1"]"#);
    }

    #[test]
    fn what_others_have_written_there_is_passed_over() {
        assert!(read(&[("status", "Retired")]).is_none() && read(&[]).is_none());
        let odd = read(&[("status", "Error"), ("code", "new"), ("attempt", "-1")]).unwrap();
        assert_eq!((odd.error.unwrap().code, odd.attempt), (Code::Internal, 0));
        assert!(read(&[("status", "Success"), ("code", "internal")]).unwrap().error.is_none());
    }
}
