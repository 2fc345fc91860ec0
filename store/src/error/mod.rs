//! Errors at Redis, by the caller's possible reaction.
//!
//! The sources are kept; no decision depends on the text of a message.

mod cause;

use std::sync::Arc;

use redcall_common::durability::Durability;
#[cfg(feature = "program")]
use redcall_common::failure::{Failure, UNREACHABLE};
#[cfg(feature = "program")]
use redcall_common::report::Problem;

pub use cause::{Cause, CauseClass};

/// A failure at the Redis boundary.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The settings cannot make a connection (URL, certificates).
    #[error("invalid Redis settings: {problem}")]
    Config {
        /// The reason, without passwords.
        problem: String,
        /// The cause, if another library reported it.
        #[source]
        source: Option<Arc<Cause>>,
    },
    /// No connection: nothing was sent.
    #[error("Redis at {address} cannot be reached")]
    Unreachable {
        /// The address, without password.
        address: String,
        /// The cause, if an attempt was made.
        #[source]
        source: Option<Arc<Cause>>,
    },
    /// Redis was reached over TLS, and its certificate was refused: nothing was sent.
    #[error("Redis at {address} is not trusted: its certificate was refused")]
    Untrusted {
        /// The address, without password.
        address: String,
        /// The cause: the names or the authority of the certificate.
        #[source]
        source: Arc<Cause>,
    },
    /// The Tokio runtime in which this client or worker was created has shut down: nothing was
    /// sent, and no later call will be.
    #[error("the client's runtime has shut down")]
    Ended,
    /// No Sentinel names a primary: nothing was sent.
    #[error("no Sentinel names a primary of `{service}`")]
    NoPrimary {
        /// The service name.
        service: String,
        /// The error of the last Sentinel that could not answer.
        #[source]
        source: Option<Arc<Cause>>,
    },
    /// The server does not support the requested durability: nothing was sent.
    #[error("durability `{level}` needs {needs}")]
    Unsupported {
        /// The requested level.
        level: Durability,
        /// The servers that support it.
        needs: &'static str,
    },
    /// The connection broke or the reply was late: the commands may have taken effect.
    #[error("the connection to Redis was lost before it answered")]
    Lost(#[source] Arc<Cause>),
    /// Redis answered with an error (wrong password, read-only, out of memory, ...).
    #[error("Redis refused a command{}", .0.reason())]
    Refused(#[source] Arc<Cause>),
    /// Redis ended a script with an error, before its first command or at one of its commands. The
    /// script has no effect then: it checks before it writes, stores before it removes, and undoes
    /// a step that it cannot finish. The tests of `lua::failures` verify that for each script.
    #[error("Redis refused the script `{script}`{}{place}", .source.reason())]
    Script {
        /// The script's name, which is that of its file in `lua/`.
        script: &'static str,
        /// Its line that failed, and the keys that have a value of another type, as the end of a
        /// sentence; empty if Redis reports neither.
        place: String,
        /// The error of Redis.
        #[source]
        source: Arc<Cause>,
    },
    /// Redis refused a part of a pipeline; the rest has taken effect.
    #[error("Redis refused a part of the commands{}", .0.reason())]
    Partly(#[source] Arc<Cause>),
    /// This version does not understand the reply of Redis.
    #[error("unexpected reply of Redis to {0}")]
    Unexpected(&'static str),
}

/// A Redis error for a terminal, with the help that usually fixes it.
#[cfg(feature = "program")]
impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Self {
        Self::of(error).help(error.help())
    }
}

/// The failure of a program that cannot use Redis.
#[cfg(feature = "program")]
impl From<&StoreError> for Failure {
    fn from(error: &StoreError) -> Self {
        let is_invalid = matches!(error, StoreError::Config { .. });
        let (name, code) =
            if is_invalid { ("invalid_settings", 2) } else { ("unavailable", UNREACHABLE) };
        Self::of(Problem::from(error), name, code)
    }
}

impl StoreError {
    /// Returns `true` if the commands may have taken effect despite this error.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Config { .. }
            | Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Ended
            | Self::NoPrimary { .. }
            | Self::Unsupported { .. }
            | Self::Refused(_)
            | Self::Script { .. } => false,
            Self::Lost(_) | Self::Partly(_) | Self::Unexpected(_) => true,
        }
    }

    /// Returns `true` if a later connection may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::NoPrimary { .. }
            | Self::Lost(_) => true,
            Self::Config { .. }
            | Self::Ended
            | Self::Unsupported { .. }
            | Self::Refused(_)
            | Self::Script { .. }
            | Self::Partly(_)
            | Self::Unexpected(_) => false,
        }
    }

    /// Returns `true` if Redis answered a command or a script with an error.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refusal().is_some()
    }

    /// Returns the answer of Redis, if it refused.
    fn refusal(&self) -> Option<&Cause> {
        match self {
            Self::Refused(source) | Self::Script { source, .. } | Self::Partly(source) => {
                Some(source)
            }
            _ => None,
        }
    }

    fn is_refused_as(&self, class: CauseClass) -> bool {
        self.refusal().is_some_and(|cause| cause.class() == class)
    }

    /// Returns the same error as one of the script with this name.
    pub(super) fn of_script(self, script: &'static str) -> Self {
        match self {
            Self::Refused(source) => Self::Script { script, place: String::new(), source },
            other => other,
        }
    }

    /// Returns the same error with the place at which the script failed.
    pub(super) fn at(mut self, found: &str) -> Self {
        if let Self::Script { place, .. } = &mut self {
            place.push_str(found);
        }
        self
    }

    /// Returns the usual fix.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Config { .. } => "Check `redis.url` and the certificates of `[redis]`.",
            Self::Unreachable { .. } | Self::Lost(_) => {
                "Check that Redis runs there. Set `redis.url` in the settings, or REDIS_URL; \
                 `docker compose up` starts one."
            }
            Self::Untrusted { .. } => {
                "Connect to a host name of its certificate, or set `redis.ca_file` to the \
                 certificate of its authority."
            }
            Self::Ended => "Use the client within the runtime that created it.",
            Self::NoPrimary { .. } => {
                "Check that the Sentinels of `redis.url` run and know the service by this name."
            }
            Self::Refused(source) | Self::Script { source, .. } | Self::Partly(source) => {
                source.help()
            }
            Self::Unsupported { .. } => "Use such a server, or set another `redis.durability`.",
            Self::Unexpected(_) => "Redcall needs Redis or Valkey 7.0 or newer.",
        }
    }

    /// Returns `true` if Redis has no memory left for the write.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        self.is_refused_as(CauseClass::Memory)
    }

    /// Returns `true` if the key holds a value of another type: retrying does not help.
    #[must_use]
    pub fn is_of_the_key(&self) -> bool {
        self.is_refused_as(CauseClass::KeyType)
    }

    /// Returns `true` if the user lacks the right to a command, a key or a channel.
    #[must_use]
    pub fn is_of_rights(&self) -> bool {
        self.is_refused_as(CauseClass::Rights)
    }

    /// Returns `true` if this server cannot do what its primary could: a new connection may reach
    /// the primary.
    pub(super) fn is_of_the_server(&self) -> bool {
        let of_the_server = [
            CauseClass::Replica,
            CauseClass::PrimaryDown,
            CauseClass::Loading,
            CauseClass::ClusterDown,
        ];
        self.refusal().is_some_and(|cause| of_the_server.contains(&cause.class()))
    }
}
