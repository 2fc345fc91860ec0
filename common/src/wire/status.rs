//! The status of a job: its record at Redis, as both ends write and read it.
//!
//! The record is a list of states, each as JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rules::error::{Code, WireError};

/// The longest message of an error in a record, bytes: up to 64 states, or the failures of twenty
/// attempts, are kept with a request.
pub const MAX_MESSAGE: usize = 1 << 10;

/// The state of a job. `Success` and `Error` are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobState {
    /// Queued, scheduled or delayed: it has not started yet.
    Pending,
    /// Started. Also while it waits for a retry, or for another worker to take it over.
    Processing,
    /// Answered.
    Success,
    /// Ended without an answer.
    Error,
}

impl JobState {
    /// Returns its name in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Processing => "Processing",
            Self::Success => "Success",
            Self::Error => "Error",
        }
    }

    /// Returns `true` if the state is final.
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

/// One state of a job, with its start time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobStatus {
    /// The state.
    #[serde(rename = "status")]
    pub state: JobState,
    /// The start time, Redis time in ms.
    pub at_ms: u64,
    /// The current or last run of the job, counted from 1; 0 before the first.
    pub attempt: u32,
    /// The id of the worker that started this run; only for `Processing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The error: code and message; only for `Error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<WireError>,
}

impl JobStatus {
    /// Reads an element of a record; `None` if it is invalid.
    #[must_use]
    pub fn read(raw: &[u8]) -> Option<Self> {
        serde_json::from_slice(raw).ok()
    }
}

/// The end of a job, for its record.
#[derive(Debug, Clone)]
pub struct StatusEnd {
    /// How long the record is kept from now, ms.
    pub ttl_ms: u64,
    /// Number of its last run, or of the run that would have been the first.
    pub attempt: u32,
    /// The error; `None` if it was answered.
    pub error: Option<(Code, String)>,
}

/// The fields of an error in a record.
#[derive(Serialize)]
struct Why<'a> {
    code: Code,
    message: &'a str,
}

impl StatusEnd {
    /// Returns the state, and the other fields of its element as JSON, from which a script builds
    /// it.
    #[must_use]
    pub fn text(&self) -> String {
        let attempt = self.attempt;
        let Some((code, message)) = &self.error else {
            return format!(r#"{},"attempt":{attempt}"#, JobState::Success);
        };
        let message = &message[..message.floor_char_boundary(MAX_MESSAGE)];
        // Strings always serialise.
        let why = serde_json::to_string(&Why { code: *code, message }).unwrap_or_default();
        format!(r#"{},"attempt":{attempt},"error":{why}"#, JobState::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds an element as the scripts do.
    fn element(end: &StatusEnd) -> String {
        let text = end.text();
        let (state, rest) = text.split_once(',').unwrap();
        format!(r#"{{"status":"{state}","at_ms":7,{rest}}}"#)
    }

    #[test]
    fn an_end_is_read_as_it_was_written() {
        let error = Some((Code::Timeout, "\"ä\"".repeat(300)));
        let end = StatusEnd { ttl_ms: 1000, attempt: 2, error };
        let status = JobStatus::read(element(&end).as_bytes()).unwrap();
        assert_eq!((status.state, status.at_ms, status.attempt), (JobState::Error, 7, 2));
        let error = status.error.unwrap();
        assert_eq!((error.code, error.message.len()), (Code::Timeout, 1024));
        let end = StatusEnd { ttl_ms: 1000, attempt: 1, error: None };
        assert_eq!(element(&end), r#"{"status":"Success","at_ms":7,"attempt":1}"#);
        let status = JobStatus::read(element(&end).as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&status).unwrap(), element(&end));
    }

    #[test]
    fn foreign_elements_are_skipped() {
        for none in ["", "7", r#"{"status":"Retired","at_ms":1,"attempt":1}"#, r#"{"at_ms":1}"#] {
            assert!(JobStatus::read(none.as_bytes()).is_none(), "{none}");
        }
        let more = br#"{"status":"Pending","at_ms":1,"attempt":0,"color":"red"}"#;
        assert_eq!(JobStatus::read(more).unwrap().state, JobState::Pending);
    }
}
