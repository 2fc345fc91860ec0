//! What can go wrong at Redis, by what the caller can do about it.
//!
//! Causes are kept whole; nothing is decided by the text of a message.

use std::sync::Arc;

/// A failure at the Redis boundary.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The settings cannot make a connection (URL, certificates).
    #[error("the Redis settings cannot be used: {problem}")]
    Config {
        /// What is wrong, without passwords.
        problem: String,
        /// The cause, if another library found it.
        #[source]
        source: Option<Arc<redis::RedisError>>,
    },
    /// No connection: nothing was sent.
    #[error("Redis at {address} cannot be reached")]
    Unreachable {
        /// Where it was looked for, without password.
        address: String,
        /// Why, if an attempt was made.
        #[source]
        source: Option<Arc<redis::RedisError>>,
    },
    /// The connection broke or answered too late: what was sent may have taken effect.
    #[error("the connection to Redis was lost before it answered")]
    Lost(#[source] Arc<redis::RedisError>),
    /// Redis answered with an error (wrong password, read-only, out of memory, ...).
    #[error("Redis refused a command")]
    Refused(#[source] Arc<redis::RedisError>),
    /// Redis answered something that this version does not understand.
    #[error("Redis answered in an unexpected form to {0}")]
    Unexpected(&'static str),
}

impl StoreError {
    /// Whether what was sent may have taken effect although this error came back.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Config { .. } | Self::Unreachable { .. } | Self::Refused(_) => false,
            Self::Lost(_) | Self::Unexpected(_) => true,
        }
    }

    /// Whether waiting for a better connection can help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Lost(_) => true,
            Self::Config { .. } | Self::Refused(_) | Self::Unexpected(_) => false,
        }
    }
}

impl From<redis::RedisError> for StoreError {
    /// An error of a command that was handed to a connection.
    fn from(error: redis::RedisError) -> Self {
        use redis::ErrorKind as Kind;
        match error.kind() {
            Kind::Server(_) | Kind::Extension | Kind::AuthenticationFailed => {
                Self::Refused(Arc::new(error))
            }
            Kind::InvalidClientConfig | Kind::RESP3NotSupported => {
                Self::Config { problem: error.to_string(), source: Some(Arc::new(error)) }
            }
            Kind::Parse | Kind::UnexpectedReturnType => Self::Unexpected("a command"),
            _ => Self::Lost(Arc::new(error)),
        }
    }
}
