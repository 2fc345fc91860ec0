//! Errors of publishing and of subscriptions.

use redcall_common::error::Code;
use redcall_common::event;
use redcall_store::StoreError;

use crate::error::code_of;

/// Why an event was not published, or a subscription failed.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Invalid topic name. Nothing was published.
    #[error("`{0}` is not a valid topic: expected 1 to 64 of [A-Za-z0-9_.-], and not `any`")]
    Topic(String),
    /// Invalid group name.
    #[error("`{0}` is not a valid group name: expected 1 to 64 of [A-Za-z0-9_-]")]
    Group(String),
    /// Kind 0 (`any`) cannot be published. Nothing was published.
    #[error("`any` is not a valid kind for publishing")]
    Kind,
    /// The context cannot be serialized as JSON. Nothing was published.
    #[error("the context cannot be serialized as JSON")]
    Encode(#[source] serde_json::Error),
    /// The context exceeds `limits.frame`. Nothing was published.
    #[error("the context has {size} bytes, the limit is {limit} (limits.frame)")]
    TooLarge {
        /// Size of the context, bytes.
        size: usize,
        /// The limit, bytes.
        limit: usize,
    },
    /// The context nests deeper than `limits.depth`. Nothing was published.
    #[error("the context nests deeper than {limit} levels (limits.depth)")]
    TooDeep {
        /// The limit, levels.
        limit: usize,
    },
    /// Redis cannot be reached or refuses. If [`StoreError::may_have_happened`] returns `true`, the
    /// event may be published.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EventError {
    /// Returns the error code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Topic(_) | Self::Group(_) | Self::Kind => Code::InvalidRequest,
            Self::Encode(_) => Code::InvalidData,
            Self::TooLarge { .. } | Self::TooDeep { .. } => Code::TooLarge,
            Self::Store(error) if error.is_out_of_memory() => Code::Overloaded,
            Self::Store(error) => code_of(error),
        }
    }
}

/// Returns the name of a topic, which may be given as a number.
pub(super) fn named(topic: &str) -> Result<&str, EventError> {
    event::topic(topic).ok_or_else(|| EventError::Topic(topic.to_owned()))
}
