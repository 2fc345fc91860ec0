//! Errors of a call, by how the caller can react.

use std::time::Duration;

use redcall_common::auth::Distrust;
use redcall_common::error::{Code, WireError};
use redcall_store::StoreError;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Data of `overloaded`: workers empty a full queue within seconds.
const RETRY_AFTER: &str = r#"{"retry_after_ms":1000}"#;

/// Why a call has no answer. Each variant states whether the job may be queued.
///
/// ```
/// # redcall_testkit::example::with_client(async |client| {
/// use redcall_client::CallError;
/// use serde_json::json;
///
/// match client.call_and_wait("fail", &json!({"message": "out of paper"})).await {
///     Ok(answer) => println!("{}", answer.data),
///     Err(CallError::Rejected { error, .. }) => println!("not queued: {error}"),
///     Err(CallError::Failed(error)) => assert_eq!(error.message, "out of paper"),
///     Err(error) if error.may_be_queued() => println!("may have run: {error}"),
///     Err(error) => println!("did not run: {error}"),
/// }
/// # Ok(()) });
/// ```
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Not queued: the job does not run.
    #[error("{error} (not queued)")]
    Rejected {
        /// Code and message.
        error: WireError,
        /// The error of Redis or of the settings that caused it, if any.
        #[source]
        source: Option<StoreError>,
    },
    /// May be queued: Redis did not confirm the request.
    #[error("unavailable: Redis did not confirm the request; it may be queued")]
    Unknown {
        /// The error that caused it; `None` if the call timed out first.
        #[source]
        source: Option<StoreError>,
    },
    /// Queued and ended with an error, or its answer has no valid signature (`unauthorized`).
    #[error("{0}")]
    Failed(WireError),
    /// Sent to Redis and not answered within the call's timeout. A call is then cancelled: if the
    /// job has not started it never does, and a running handler is notified. A fetch does not
    /// affect the job.
    #[error("deadline_exceeded: no answer within the call's timeout; the job may have run")]
    TimedOut,
    /// The handler that made the call was cancelled. A call is cancelled with it, as after
    /// [`CallError::TimedOut`]; a fetch does not affect the job.
    #[error("cancelled: the handler that made the call was cancelled; the job may have run")]
    Cancelled,
    /// A read or an administrative call (such as `fetch`, `follow`, `status`, `monitor`, `cancel`,
    /// `pause`) was refused, found nothing or timed out. It never enqueues a job; repeating it is
    /// safe.
    #[error("{error}")]
    Refused {
        /// Code and message.
        error: WireError,
        /// The error of Redis, if that is the reason.
        #[source]
        source: Option<StoreError>,
    },
    /// A read or an administrative call that Redis did not confirm: it may have been carried out.
    /// Repeating it is safe.
    #[error("unavailable: Redis did not answer in time")]
    Unanswered {
        /// The error that caused it; `None` if the call timed out first.
        #[source]
        source: Option<StoreError>,
    },
    /// The data cannot be serialized as JSON. Not queued.
    #[error("invalid_data: the data cannot be serialized as JSON")]
    Encode(#[source] serde_json::Error),
    /// The answer is not of the requested type. The job has run.
    #[error("invalid_data: the answer is not of the expected type")]
    Decode(#[source] serde_json::Error),
}

impl CallError {
    /// Returns the error code.
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

    /// Returns `true` if the job may be queued, running or finished. Not meaningful for a read or
    /// an administrative call ([`CallError::is_read_or_admin`]), which never enqueues a job.
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

    /// Returns `true` for an error of a read or an administrative call, which never enqueues a job.
    #[must_use]
    pub fn is_read_or_admin(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Unanswered { .. })
    }

    /// Returns how long to wait before the next try, if the error has it, as `overloaded` does.
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

    /// The error of a read or an administrative call that was refused or found nothing.
    pub(crate) fn refused(code: Code, message: impl Into<String>) -> Self {
        Self::Refused { error: WireError::new(code, message), source: None }
    }

    /// The error of a read or an administrative call that failed in Redis or was not confirmed.
    pub(crate) fn unanswered(source: StoreError) -> Self {
        if source.may_have_happened() {
            return Self::Unanswered { source: Some(source) };
        }
        let error = WireError::new(code_of(&source), source.to_string());
        Self::Refused { error, source: Some(source) }
    }

    /// The error of a read or an administrative call that timed out.
    pub(crate) fn not_in_time() -> Self {
        Self::Unanswered { source: None }
    }

    /// The queue has no worker; nothing was queued.
    pub(crate) fn no_workers(queue: &str) -> Self {
        let message = format!("no worker serves queue `{queue}`; start one, or correct the name");
        Self::rejected(Code::NoWorkers, message)
    }

    /// A limit was reached; nothing was queued.
    pub(crate) fn overloaded(message: &str) -> Self {
        Self::no_room(message, None)
    }

    fn no_room(message: &str, source: Option<StoreError>) -> Self {
        let mut error = WireError::new(Code::Overloaded, message);
        error.data = RawValue::from_string(RETRY_AFTER.to_owned()).ok();
        Self::Rejected { error, source }
    }

    /// The handler that was to make the call is cancelled.
    pub(crate) fn cancelled() -> Self {
        Self::rejected(Code::Cancelled, "the handler that makes the call was cancelled")
    }

    /// The response key is empty.
    pub(crate) fn nothing_there() -> Self {
        let message =
            "the response key is empty: its answer was fetched, has expired, or never existed";
        Self::refused(Code::NotFound, message)
    }

    /// A frame of the stream was trimmed.
    pub(crate) fn trimmed(seq: u64) -> Self {
        let message =
            format!("frame {seq} of the stream was already read and trimmed by another reader");
        Self::refused(Code::NotFound, message)
    }

    /// `key` is not a response key of this deployment.
    pub(crate) fn no_response_key(key: &str) -> Self {
        let message =
            format!("`{key}` is not a response key; expected redcall:{{QUEUE}}:response:ID");
        Self::refused(Code::InvalidRequest, message)
    }

    /// The sender ended before it took the request.
    pub(crate) fn stopped() -> Self {
        StoreError::Ended.into()
    }

    /// The reply of a request was lost: the task that delivers it has ended.
    pub(crate) fn reply_lost() -> Self {
        Self::Unknown { source: None }
    }

    /// The request is larger than `limits.request`.
    pub(crate) fn too_large(size: usize, limit: usize) -> Self {
        let message =
            format!("the request has {size} bytes, the limit is {limit} (limits.request)");
        Self::rejected(Code::TooLarge, message)
    }

    pub(crate) fn not_encoded(error: &serde_json::Error) -> Self {
        Self::Encode(serde::ser::Error::custom(error))
    }

    /// The answer has no valid signature.
    pub(crate) fn not_trusted(why: &Distrust, claimed: Option<WireError>) -> Self {
        let advice =
            claimed.map(|error| format!("; the unverified error is: {error}")).unwrap_or_default();
        Self::Failed(WireError::new(Code::Unauthorized, format!("{why}{advice}")))
    }

    /// Redis was not reached in time; nothing was sent.
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

/// Returns the code of a failure in Redis that had no effect.
pub(crate) fn code_of(error: &StoreError) -> Code {
    if matches!(error, StoreError::Ended) { Code::Internal } else { Code::Unavailable }
}
