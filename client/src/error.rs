//! Why a call gave no answer, by what its caller can do.

use std::time::Duration;

use redcall_common::auth::Distrust;
use redcall_common::error::{Code, WireError};
use redcall_store::StoreError;
use serde::Deserialize;
use serde_json::value::RawValue;

/// When to try again what was refused for want of room: its callers drain a queue in seconds.
const RETRY_AFTER: &str = r#"{"retry_after_ms":1000}"#;

/// Why a call gave no answer. Each says whether the job may have been queued.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Not queued: nothing will run.
    #[error("{error} (not queued)")]
    Rejected {
        /// Code and message.
        error: WireError,
        /// What Redis or the settings said, if they are the reason.
        #[source]
        source: Option<StoreError>,
    },
    /// May be queued: Redis did not confirm it, in time or at all.
    #[error("unavailable: Redis did not confirm the request, it may be queued")]
    Unknown {
        /// What broke; none if the call's time ran out first.
        #[source]
        source: Option<StoreError>,
    },
    /// Queued, and ended with an error; or with an answer that is not signed as it has to be, which
    /// is `unauthorized`.
    #[error("{0}")]
    Failed(WireError),
    /// Handed to Redis, and not answered within the call's timeout. A call is withdrawn then: it
    /// does not start any more, and a running one is told. A fetch leaves the job as it is.
    #[error("deadline_exceeded: no answer within the call's timeout; the job may have run")]
    TimedOut,
    /// The handler inside which the call was made is not wanted any more. A call is withdrawn with
    /// it, as after [`CallError::TimedOut`]; a fetch leaves the job as it is.
    #[error("cancelled: the handler that made the call was cancelled; the job may have run")]
    Cancelled,
    /// A read or an administrative call (`fetch`, `follow`, `status`, `monitor`, `cancel`, `pause`
    /// and their like) that was refused, found nothing, or took too long. It queues nothing in any
    /// case; asking again is harmless.
    #[error("{error}")]
    Refused {
        /// Code and message.
        error: WireError,
        /// What Redis said, if that is the reason.
        #[source]
        source: Option<StoreError>,
    },
    /// The same, and Redis did not confirm it: what was asked for may be done. Asking again is
    /// harmless.
    #[error("unavailable: Redis did not answer in time")]
    Unanswered {
        /// What broke; none if its time ran out first.
        #[source]
        source: Option<StoreError>,
    },
    /// The data cannot be written as JSON. Not queued.
    #[error("invalid_data: the data cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The answer is not of the type that was asked for. The job has run.
    #[error("invalid_data: the answer is not of the expected type")]
    Decode(#[source] serde_json::Error),
}

impl CallError {
    /// The code of the closed set.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Rejected { error, .. } | Self::Refused { error, .. } | Self::Failed(error) => {
                error.code
            }
            Self::Unknown { .. } | Self::Unanswered { .. } => Code::Unavailable,
            Self::TimedOut => Code::DeadlineExceeded,
            Self::Cancelled => Code::Cancelled,
            Self::Encode(_) | Self::Decode(_) => Code::InvalidData,
        }
    }

    /// Whether the job may have been queued, so that it may run or have run. Of a read or an
    /// administrative call this says nothing ([`CallError::is_of_question`]): if Redis did not
    /// answer, its job may be queued.
    #[must_use]
    pub fn may_be_queued(&self) -> bool {
        match self {
            Self::Rejected { .. } | Self::Refused { .. } | Self::Encode(_) => false,
            Self::Unknown { .. }
            | Self::Unanswered { .. }
            | Self::Failed(_)
            | Self::TimedOut
            | Self::Cancelled
            | Self::Decode(_) => true,
        }
    }

    /// Whether it is of a read or an administrative call, which queues nothing in any case.
    #[must_use]
    pub fn is_of_question(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Unanswered { .. })
    }

    /// How long to wait before the call is made again, if the error says so: `overloaded` does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        #[derive(Deserialize)]
        struct Data {
            retry_after_ms: u64,
        }
        let (Self::Rejected { error, .. } | Self::Failed(error)) = self else { return None };
        let data = serde_json::from_str::<Data>(error.data.as_deref()?.get()).ok()?;
        Some(Duration::from_millis(data.retry_after_ms))
    }

    pub(crate) fn rejected(code: Code, message: impl Into<String>) -> Self {
        Self::Rejected { error: WireError::new(code, message), source: None }
    }

    /// A read or an administrative call is refused, or finds nothing.
    pub(crate) fn refused(code: Code, message: impl Into<String>) -> Self {
        Self::Refused { error: WireError::new(code, message), source: None }
    }

    /// What becomes of a read or an administrative call that Redis did not carry out, or may not
    /// have.
    pub(crate) fn unanswered(source: StoreError) -> Self {
        if source.may_have_happened() {
            return Self::Unanswered { source: Some(source) };
        }
        let error = WireError::new(code_of(&source), source.to_string());
        Self::Refused { error, source: Some(source) }
    }

    /// A read or an administrative call whose time is over.
    pub(crate) fn not_in_time() -> Self {
        Self::Unanswered { source: None }
    }

    /// Nobody listens on `queue`; nothing was queued.
    pub(crate) fn no_workers(queue: &str) -> Self {
        let message = format!("no worker listens on queue `{queue}`; start one, or check its name");
        Self::rejected(Code::NoWorkers, message)
    }

    /// There is no room; nothing was queued.
    pub(crate) fn overloaded(message: &str) -> Self {
        Self::no_room(message, None)
    }

    fn no_room(message: &str, source: Option<StoreError>) -> Self {
        let mut error = WireError::new(Code::Overloaded, message);
        error.data = RawValue::from_string(RETRY_AFTER.to_owned()).ok();
        Self::Rejected { error, source }
    }

    /// The handler inside which the call was to be made is not wanted any more.
    pub(crate) fn cancelled() -> Self {
        Self::rejected(Code::Cancelled, "the handler that makes the call was cancelled")
    }

    /// Nothing lies at a response key.
    pub(crate) fn nothing_there() -> Self {
        let message = "nothing lies at the response key: taken, expired or never there";
        Self::refused(Code::NotFound, message)
    }

    /// A stream is wanted from a frame on that lies there no more.
    pub(crate) fn trimmed(seq: u64) -> Self {
        let message = format!("frame {seq} of the stream has been read by another reader");
        Self::refused(Code::NotFound, message)
    }

    /// What was given is no response key of this deployment.
    pub(crate) fn no_response_key(key: &str) -> Self {
        let message =
            format!("`{key}` is not a response key; one is written redcall:{{QUEUE}}:response:ID");
        Self::refused(Code::InvalidRequest, message)
    }

    /// The task that sends has ended before it got the request.
    pub(crate) fn stopped() -> Self {
        StoreError::Ended.into()
    }

    /// The task that was to tell the end of a request has ended first.
    pub(crate) fn reply_lost() -> Self {
        Self::Unknown { source: None }
    }

    /// An answer has come of which nobody knows who wrote it.
    pub(crate) fn not_trusted(why: &Distrust, claimed: Option<WireError>) -> Self {
        let says = claimed.map(|error| format!("; it says: {error}")).unwrap_or_default();
        Self::Failed(WireError::new(Code::Unauthorized, format!("{why}{says}")))
    }

    /// Redis could not be asked in time; nothing was sent.
    pub(crate) fn not_sent() -> Self {
        Self::rejected(Code::Unavailable, "Redis could not be reached within the call's timeout")
    }
}

impl From<StoreError> for CallError {
    fn from(source: StoreError) -> Self {
        if source.may_have_happened() {
            return Self::Unknown { source: Some(source) };
        }
        if source.is_out_of_memory() {
            return Self::no_room(&source.to_string(), Some(source));
        }
        let error = WireError::new(code_of(&source), source.to_string());
        Self::Rejected { error, source: Some(source) }
    }
}

/// The code of a failure at Redis by which nothing was done.
pub(crate) fn code_of(error: &StoreError) -> Code {
    if matches!(error, StoreError::Ended) { Code::Internal } else { Code::Unavailable }
}
