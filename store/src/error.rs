//! Errors at Redis, by the caller's possible reaction.
//!
//! The sources are kept; no decision depends on the text of a message.

use std::sync::Arc;

use redcall_common::durability::Durability;
#[cfg(feature = "program")]
use redcall_common::failure::{Failure, UNREACHABLE};
#[cfg(feature = "program")]
use redcall_common::report::Problem;

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
        source: Option<Arc<redis::RedisError>>,
    },
    /// No connection: nothing was sent.
    #[error("Redis at {address} cannot be reached")]
    Unreachable {
        /// The address, without password.
        address: String,
        /// The cause, if an attempt was made.
        #[source]
        source: Option<Arc<redis::RedisError>>,
    },
    /// Redis was reached over TLS, and its certificate was refused: nothing was sent.
    #[error("Redis at {address} is not trusted: its certificate was refused")]
    Untrusted {
        /// The address, without password.
        address: String,
        /// The cause: the names or the authority of the certificate.
        #[source]
        source: Arc<redis::RedisError>,
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
        source: Option<Arc<redis::RedisError>>,
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
    Lost(#[source] Arc<redis::RedisError>),
    /// Redis answered with an error (wrong password, read-only, out of memory, ...).
    #[error("Redis refused a command{}", reason(.0))]
    Refused(#[source] Arc<redis::RedisError>),
    /// Redis ended a script with an error, before its first command or at one of its commands. The
    /// script has no effect then: it checks before it writes, stores before it removes, and undoes
    /// a step that it cannot finish. The tests of `lua::failures` verify that for each script.
    #[error("Redis refused the script `{script}`{}{place}", reason(.source))]
    Script {
        /// The script's name, which is that of its file in `lua/`.
        script: &'static str,
        /// Its line that failed, and the keys that have a value of another type, as the end of a
        /// sentence; empty if Redis tells neither.
        place: String,
        /// The error of Redis.
        #[source]
        source: Arc<redis::RedisError>,
    },
    /// Redis refused a part of a pipeline; the rest has taken effect.
    #[error("Redis refused a part of the commands{}", reason(.0))]
    Partly(#[source] Arc<redis::RedisError>),
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

    /// Returns the error with which Redis answered, if it did.
    fn refusal(&self) -> Option<&redis::RedisError> {
        match self {
            Self::Refused(source) | Self::Script { source, .. } | Self::Partly(source) => {
                Some(source)
            }
            _ => None,
        }
    }

    fn code(&self) -> Option<&str> {
        self.refusal()?.code()
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
                help_of(source.code())
            }
            Self::Unsupported { .. } => "Use such a server, or set another `redis.durability`.",
            Self::Unexpected(_) => "Redcall needs Redis or Valkey 7.0 or newer.",
        }
    }

    /// Returns `true` if Redis has no memory left for the write.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        self.code() == Some("OOM")
    }

    /// Returns `true` if the key holds a value of another type: retrying does not help.
    #[must_use]
    pub fn is_of_the_key(&self) -> bool {
        self.code() == Some("WRONGTYPE")
    }

    /// Returns `true` if the user lacks the right to a command, a key or a channel.
    #[must_use]
    pub fn is_of_rights(&self) -> bool {
        self.code() == Some("NOPERM")
    }

    /// Returns `true` if this server cannot do what its primary could: a new connection may reach
    /// the primary.
    pub(super) fn is_of_the_server(&self) -> bool {
        use redis::ServerErrorKind as Kind;
        let Some(error) = self.refusal() else { return false };
        let of_the_server =
            [Kind::ReadOnly, Kind::MasterDown, Kind::BusyLoading, Kind::ClusterDown];
        of_the_server.iter().any(|kind| error.kind() == redis::ErrorKind::Server(*kind))
    }
}

/// Returns the usual fix for a refusal with this code.
fn help_of(code: Option<&str>) -> &'static str {
    match code {
        Some("READONLY") => {
            "Name the primary in `redis.url`, or its Sentinels: \
             redis+sentinel://HOST:PORT,HOST:PORT/SERVICE."
        }
        Some("OOM") => "Raise its `maxmemory`, or start workers that empty the queues.",
        Some("MISCONF") => "Its log has the reason, usually a full disk.",
        Some("NOREPLICAS") => "See `min-replicas-to-write` in its configuration.",
        Some("LOADING") => "Retry when its data is loaded.",
        Some("WRONGTYPE") => {
            "One of Redcall's keys has a value of another type. Find it (TYPE KEY), and delete \
             it."
        }
        Some("NOPERM") => {
            "`redcall doctor` names the rights that its user lacks; all of them are in \
             docs/reference/protocol.md, *Rights at Redis*."
        }
        Some("NOAUTH" | "WRONGPASS") => "Check user and password in `redis.url`.",
        _ => "Check user, password and rights with `redcall doctor`.",
    }
}

/// The length at which texts of Redis are cut, in characters: some repeat the command.
const MAX_REASON_CHARS: usize = 300;

/// Describes a known refusal of Redis; otherwise, and if it names a right, quotes Redis.
fn reason(error: &redis::RedisError) -> String {
    let quote = || {
        let (code, detail) = (error.code().unwrap_or("ERR"), error.detail().unwrap_or_default());
        let text = format!(" ({code} {detail}");
        text.trim_end().chars().take(MAX_REASON_CHARS).chain([')']).collect::<String>()
    };
    let word = match error.code() {
        Some("READONLY") => "the server is a read-only replica",
        Some("OOM") => "the server is out of memory",
        Some("NOAUTH" | "WRONGPASS") => "wrong user or password",
        Some("NOPERM") => return format!(": the user lacks the right{}", quote()),
        Some("MISCONF") => "the server cannot write to its disk",
        Some("NOREPLICAS") => "too few replicas are connected",
        Some("LOADING") => "the server is still loading its data",
        _ if error.kind() == redis::ErrorKind::AuthenticationFailed => "wrong user or password",
        _ => return quote(),
    };
    format!(": {word}")
}

impl From<redis::RedisError> for StoreError {
    /// Converts an error of a command on a connection.
    fn from(error: redis::RedisError) -> Self {
        use redis::ErrorKind as Kind;
        match error.kind() {
            Kind::Server(_) | Kind::Extension | Kind::AuthenticationFailed => {
                // The first failure of a pipeline is the cause; it has its own code.
                let first = error.clone().into_server_errors().and_then(|all| all.first().cloned());
                Self::Refused(Arc::new(first.map_or(error, |(_, first)| first.into())))
            }
            Kind::InvalidClientConfig | Kind::RESP3NotSupported => {
                Self::Config { problem: error.to_string(), source: Some(Arc::new(error)) }
            }
            Kind::Parse | Kind::UnexpectedReturnType => Self::Unexpected("a command"),
            _ => Self::Lost(Arc::new(error)),
        }
    }
}
