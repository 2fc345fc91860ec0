//! The cause of a failure at Redis: its class, and the error of the driver, whose type stays inside
//! the store.

use std::error::Error;
use std::fmt;

/// The length at which texts of Redis are cut, in characters: some repeat the command.
const MAX_REASON_CHARS: usize = 300;

/// The meaning of an error, by the caller's possible reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CauseClass {
    /// Redis did not answer: the connection could not be made, broke, or was silent.
    Connection,
    /// The address or a certificate cannot make a connection.
    Settings,
    /// Wrong user or password (`NOAUTH`, `WRONGPASS`).
    Login,
    /// The user lacks the right to a command, a key or a channel (`NOPERM`).
    Rights,
    /// No memory is left for the write (`OOM`).
    Memory,
    /// The server cannot write to its disk (`MISCONF`).
    Disk,
    /// The key holds a value of another type (`WRONGTYPE`).
    KeyType,
    /// The server is a read-only replica (`READONLY`).
    Replica,
    /// The server is a replica without its primary (`MASTERDOWN`).
    PrimaryDown,
    /// The server's cluster is down (`CLUSTERDOWN`).
    ClusterDown,
    /// Too few replicas are connected (`NOREPLICAS`).
    Replicas,
    /// The server is still loading its data (`LOADING`).
    Loading,
    /// Another answer.
    Other,
}

/// The cause of a [`StoreError`](super::StoreError). As text and as an error, it is the error of
/// the driver.
#[derive(Debug)]
pub struct Cause {
    class: CauseClass,
    /// The code and the text of the answer.
    code: String,
    detail: String,
    error: Box<dyn Error + Send + Sync>,
}

impl Cause {
    pub(crate) fn new(
        class: CauseClass,
        code: &str,
        detail: &str,
        error: Box<dyn Error + Send + Sync>,
    ) -> Self {
        Self { class, code: code.to_owned(), detail: detail.to_owned(), error }
    }

    /// Returns the class.
    #[must_use]
    pub fn class(&self) -> CauseClass {
        self.class
    }

    /// Describes a known refusal of Redis; otherwise, and if it names a right, quotes Redis.
    pub(super) fn reason(&self) -> String {
        let word = match self.class {
            CauseClass::Replica => "the server is a read-only replica",
            CauseClass::Memory => "the server is out of memory",
            CauseClass::Login => "wrong user or password",
            CauseClass::Rights => {
                return format!(": the user lacks the right{}", self.quote());
            }
            CauseClass::Disk => "the server cannot write to its disk",
            CauseClass::Replicas => "too few replicas are connected",
            CauseClass::Loading => "the server is still loading its data",
            CauseClass::KeyType
            | CauseClass::PrimaryDown
            | CauseClass::ClusterDown
            | CauseClass::Connection
            | CauseClass::Settings
            | CauseClass::Other => return self.quote(),
        };
        format!(": {word}")
    }

    fn quote(&self) -> String {
        let text = format!(" ({} {}", self.code, self.detail);
        text.trim_end().chars().take(MAX_REASON_CHARS).chain([')']).collect()
    }

    /// Returns the usual fix of a refusal.
    pub(super) fn help(&self) -> &'static str {
        match self.class {
            CauseClass::Replica => {
                "Name the primary in `redis.url`, or its Sentinels: \
                 redis+sentinel://HOST:PORT,HOST:PORT/SERVICE."
            }
            CauseClass::Memory => "Raise its `maxmemory`, or start workers that empty the queues.",
            CauseClass::Disk => "Its log has the reason, usually a full disk.",
            CauseClass::Replicas => "See `min-replicas-to-write` in its configuration.",
            CauseClass::Loading => "Retry when its data is loaded.",
            CauseClass::KeyType => {
                "One of Redcall's keys has a value of another type. Find it (TYPE KEY), and \
                 delete it."
            }
            CauseClass::Rights => {
                "`redcall doctor` names the rights that its user lacks; all of them are in \
                 docs/reference/protocol.md, *Rights at Redis*."
            }
            CauseClass::Login => "Check user and password in `redis.url`.",
            CauseClass::PrimaryDown
            | CauseClass::ClusterDown
            | CauseClass::Connection
            | CauseClass::Settings
            | CauseClass::Other => "Check user, password and rights with `redcall doctor`.",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
