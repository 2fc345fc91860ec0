//! What can go wrong at Redis, by what the caller can do about it.
//!
//! Causes are kept whole; nothing is decided by the text of a message.

use std::sync::Arc;

use redcall_common::durability::Durability;
use redcall_common::report::Problem;

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
    /// The server was reached over TLS, and its certificate was refused: nothing was sent.
    #[error("Redis at {address} is not trusted: its certificate was refused")]
    Untrusted {
        /// What was connected to, without password.
        address: String,
        /// Why: the names or the authority of the certificate.
        #[source]
        source: Arc<redis::RedisError>,
    },
    /// The Tokio runtime in which this client or worker was made has shut down: nothing was sent,
    /// and nothing will be.
    #[error("the client's runtime has shut down")]
    Ended,
    /// No Sentinel says which server is the primary: nothing was sent.
    #[error("no Sentinel names a primary of `{service}`")]
    NoPrimary {
        /// The name that was asked for.
        service: String,
        /// What the last one that could not answer said.
        #[source]
        source: Option<Arc<redis::RedisError>>,
    },
    /// The server cannot do what is asked for: nothing was sent.
    #[error("durability `{level}` needs {needs}")]
    Unsupported {
        /// What was asked for.
        level: Durability,
        /// Which server can.
        needs: &'static str,
    },
    /// The connection broke or answered too late: what was sent may have taken effect.
    #[error("the connection to Redis was lost before it answered")]
    Lost(#[source] Arc<redis::RedisError>),
    /// Redis answered with an error (wrong password, read-only, out of memory, ...).
    #[error("Redis refused a command{}", reason(.0))]
    Refused(#[source] Arc<redis::RedisError>),
    /// Redis ended a script with an error, before its first command or at one of its commands. It
    /// has no effect then: a script checks before it writes, stores before it removes, and takes
    /// back what it cannot finish. The tests of `lua::failures` hold each script to that.
    #[error("Redis refused the script `{script}`{}", reason(.source))]
    Script {
        /// Its name, which is that of its file in `lua/`.
        script: &'static str,
        /// What Redis says.
        #[source]
        source: Arc<redis::RedisError>,
    },
    /// Redis refused a part of what was sent together; the rest has taken effect.
    #[error("Redis refused a part of what was sent{}", reason(.0))]
    Partly(#[source] Arc<redis::RedisError>),
    /// Redis answered something that this version does not understand.
    #[error("Redis answered in an unexpected form to {0}")]
    Unexpected(&'static str),
}

/// A failure at Redis for a terminal, with the help that usually repairs it.
impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Self {
        Self::of(error).help(error.help())
    }
}

impl StoreError {
    /// Whether what was sent may have taken effect although this error came back.
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

    /// Whether waiting for a better connection can help.
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

    /// Whether Redis answered with an error, to a command or to a script.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refusal().is_some()
    }

    /// What Redis answered with, if that was an error.
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

    /// The same, of the script of this name.
    pub(super) fn of_script(self, script: &'static str) -> Self {
        match self {
            Self::Refused(source) => Self::Script { script, source },
            other => other,
        }
    }

    /// What usually mends it.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Config { .. } => "Check `redis.url` and the certificates of `[redis]`.",
            Self::Unreachable { .. } | Self::Lost(_) => {
                "Is Redis running there? Set `redis.url` in the settings, or REDIS_URL; \
                 `docker compose up` starts one."
            }
            Self::Untrusted { .. } => {
                "Connect by a name that its certificate has, or name its authority in \
                 `redis.ca_file`."
            }
            Self::Ended => "Use the client within the runtime in which it was made.",
            Self::NoPrimary { .. } => {
                "Are the Sentinels of `redis.url` running, and is that what they call the service?"
            }
            Self::Refused(source) | Self::Script { source, .. } | Self::Partly(source) => {
                help_of(source.code())
            }
            Self::Unsupported { .. } => "Use such a server, or another `redis.durability`.",
            Self::Unexpected(_) => "Redcall needs Redis or Valkey 7.0 or newer.",
        }
    }

    /// Whether Redis has no memory left for what was to be written.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        self.code() == Some("OOM")
    }

    /// Whether something else lies at the key than the command is for: no waiting mends that.
    #[must_use]
    pub fn is_of_the_key(&self) -> bool {
        self.code() == Some("WRONGTYPE")
    }

    /// Whether the user may not run a command, or not use a key or a channel.
    #[must_use]
    pub fn is_of_rights(&self) -> bool {
        self.code() == Some("NOPERM")
    }

    /// Whether the server cannot do what its primary could: another connection may lead there.
    pub(super) fn is_of_the_server(&self) -> bool {
        use redis::ServerErrorKind as Kind;
        let Some(error) = self.refusal() else { return false };
        let of_the_server =
            [Kind::ReadOnly, Kind::MasterDown, Kind::BusyLoading, Kind::ClusterDown];
        of_the_server.iter().any(|kind| error.kind() == redis::ErrorKind::Server(*kind))
    }
}

/// What usually helps against a refusal with this code.
fn help_of(code: Option<&str>) -> &'static str {
    match code {
        Some("READONLY") => {
            "Name the primary in `redis.url`, or its Sentinels: \
             redis+sentinel://HOST:PORT,HOST:PORT/SERVICE."
        }
        Some("OOM") => "Raise its `maxmemory`, or start workers that empty the queues.",
        Some("MISCONF") => "Its log says why: a full disk, most often.",
        Some("NOREPLICAS") => "See `min-replicas-to-write` in its configuration.",
        Some("LOADING") => "It answers when that is done.",
        Some("WRONGTYPE") => {
            "A value that is not Redcall's lies at one of its keys. Look for it (TYPE KEY), and \
             take it away."
        }
        Some("NOPERM") => {
            "`redcall doctor` names the rights that its user lacks; all of them are in \
             docs/reference/protocol.md, *Rights at Redis*."
        }
        Some("NOAUTH" | "WRONGPASS") => "Check user and password in `redis.url`.",
        _ => "Check user, password and rights in `redis.url`; `redcall doctor` does.",
    }
}

/// The longest text of Redis that is repeated, in characters: some repeat what they were sent.
const LONGEST: usize = 300;

/// What a refusal means, where Redis has a word for it; else, and where it names a right, what it
/// says.
fn reason(error: &redis::RedisError) -> String {
    let says = || {
        let (code, detail) = (error.code().unwrap_or("ERR"), error.detail().unwrap_or_default());
        let text = format!(" ({code} {detail}");
        text.trim_end().chars().take(LONGEST).chain([')']).collect::<String>()
    };
    let word = match error.code() {
        Some("READONLY") => "it is a read-only replica",
        Some("OOM") => "it is out of memory",
        Some("NOAUTH" | "WRONGPASS") => "it wants another user or password",
        Some("NOPERM") => return format!(": its user may not do that{}", says()),
        Some("MISCONF") => "it cannot write to its disk",
        Some("NOREPLICAS") => "too few of its replicas are connected",
        Some("LOADING") => "it is still reading its data",
        _ if error.kind() == redis::ErrorKind::AuthenticationFailed => {
            "it wants another user or password"
        }
        _ => return says(),
    };
    format!(": {word}")
}

impl From<redis::RedisError> for StoreError {
    /// An error of a command that was handed to a connection.
    fn from(error: redis::RedisError) -> Self {
        use redis::ErrorKind as Kind;
        match error.kind() {
            Kind::Server(_) | Kind::Extension | Kind::AuthenticationFailed => {
                // Of a pipeline's failures the first one says why; it has a code of its own.
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
