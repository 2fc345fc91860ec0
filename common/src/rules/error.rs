//! The closed set of error codes, and an error as it crosses the wire.
//!
//! One table below generates the enum, its numbers, its texts and the table in
//! docs/reference/errors.md, so that they stay equal. Errors of one program (settings, Redis) are
//! in the modules that raise them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::rules::depth::error_data_fits;
use crate::rules::limits::Limits;

/// The effect of sending the same request again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The job did not run: a retry is safe and may succeed.
    Safe,
    /// The job ran or may have run: retry only if running twice is harmless.
    MayRepeat,
    /// The same request will fail again: fix the request or the deployment first.
    Useless,
}

macro_rules! codes {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident = $text:literal, $number:literal, $retry:ident;
    )+) => {
        /// The reason why a call got no answer. Closed: a new code is a new wire version.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// All codes, ordered by number.
            pub const ALL: &[Code] = &[$(Code::$variant),+];

            /// Returns the code's name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text),+ }
            }

            /// Returns the number for gateways of protocols with numeric codes (JSON-RPC's server
            /// error range).
            #[must_use]
            pub const fn number(self) -> i32 {
                match self { $(Code::$variant => $number),+ }
            }

            /// Returns the effect of sending the same request again.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self { $(Code::$variant => Retry::$retry),+ }
            }

            const fn meaning(self) -> &'static str {
                match self { $(Code::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

codes! {
    /// No live worker handles the job's name.
    UnknownJob = "unknown_job", -32001, Useless;
    /// No live worker serves the queue; nothing is queued.
    NoWorkers = "no_workers", -32002, Safe;
    /// The id is unknown, or its data has expired.
    NotFound = "not_found", -32003, Useless;
    /// The same idempotency key with other data, or a service call in the wrong phase.
    Conflict = "conflict", -32004, Useless;
    /// The envelope violates the protocol.
    InvalidRequest = "invalid_request", -32005, Useless;
    /// The handler cannot read the data.
    InvalidData = "invalid_data", -32006, Useless;
    /// The request, answer or frame is over its limit.
    TooLarge = "too_large", -32007, Useless;
    /// The queue is full, or keeps too many bytes of answers; nothing is queued.
    Overloaded = "overloaded", -32008, Safe;
    /// The caller may not run this job.
    Unauthorized = "unauthorized", -32009, Useless;
    /// The handler returned an error.
    HandlerFailed = "handler_failed", -32010, MayRepeat;
    /// The handler panicked; details are in the worker's log.
    HandlerPanicked = "handler_panicked", -32011, MayRepeat;
    /// The handler exceeded its timeout.
    Timeout = "timeout", -32012, MayRepeat;
    /// The call's timeout passed while the job was queued, running or waited for.
    DeadlineExceeded = "deadline_exceeded", -32013, MayRepeat;
    /// The call was cancelled.
    Cancelled = "cancelled", -32014, MayRepeat;
    /// The job was abandoned after its workers crashed.
    WorkerLost = "worker_lost", -32015, MayRepeat;
    /// Redis cannot be reached; the message states whether the job may have been queued.
    Unavailable = "unavailable", -32016, MayRepeat;
    /// An internal error of Redcall or of its configuration; details are in the log.
    Internal = "internal", -32017, MayRepeat;
}

impl Code {
    /// Parses a code's name on the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }

    /// Returns `true` if a call that ended so may be begun again under its idempotency key, since
    /// its job did not run to an end.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Cancelled | Self::DeadlineExceeded | Self::Overloaded | Self::WorkerLost
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    /// A code of a newer wire version reads as `internal`: the caller still gets its error.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::parse(&text).unwrap_or(Self::Internal))
    }
}

/// The longest message of an error from a handler or a settlement, bytes.
const MAX_MESSAGE: usize = 16 << 10;

/// An error as it crosses the wire, inside an `error` frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WireError {
    /// The error code.
    pub code: Code,
    /// Human-readable; never internals of the worker.
    #[serde(default)]
    pub message: String,
    /// Data that the handler attached, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// The attempt that failed, counted from 1; absent if the job did not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

impl WireError {
    /// Creates an error without data.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None, attempt: None }
    }

    /// Shortens the error for a frame: a message of at most 16 KiB, and no data of more than
    /// `limits.frame` bytes or that nest deeper than `limits.depth`.
    #[must_use]
    pub fn bounded(mut self, limits: &Limits) -> Self {
        self.message.truncate(self.message.floor_char_boundary(MAX_MESSAGE));
        let fits = |data: &str| {
            data.len() <= limits.frame && error_data_fits(data.as_bytes(), limits.depth)
        };
        self.data = self.data.filter(|data| fits(data.get()));
        self
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for WireError {}

/// Returns the error codes as the markdown table of docs/reference/errors.md.
#[must_use]
pub fn table() -> String {
    let mut out = String::from("| code | number | means | retry |\n|---|---|---|---|\n");
    for code in Code::ALL {
        let again = match code.retry() {
            Retry::Safe => "safe: the job did not run",
            Retry::MayRepeat => "the job may run twice",
            Retry::Useless => "fails again: correct the request or the deployment",
        };
        let (text, number, meaning) = (code.as_str(), code.number(), code.meaning().trim());
        out.push_str(&format!("| `{text}` | {number} | {meaning} | {again} |\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire_and_has_its_own_number() {
        let mut numbers = std::collections::HashSet::new();
        for code in Code::ALL {
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(serde_json::from_str::<Code>(&json).unwrap(), *code);
            assert!(numbers.insert(code.number()));
        }
        assert_eq!(serde_json::from_str::<Code>("\"of_tomorrow\"").unwrap(), Code::Internal);
    }

    #[test]
    fn calls_that_did_not_end_by_themselves_may_begin_again() {
        let mut again = Code::ALL.to_vec();
        again.retain(|code| code.is_retryable());
        let expected =
            [Code::Overloaded, Code::DeadlineExceeded, Code::Cancelled, Code::WorkerLost];
        assert_eq!(again, expected);
    }
}
