//! Errors of the embedded server.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// The time limit for a started server to answer PING.
pub(super) const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// The help text of the errors about a missing server.
const FIXES: &str = "fix it with one of:\n  \
    apt install redis-server          (Debian, Ubuntu)\n  \
    brew install redis                (macOS)\n  \
    REDCALL_REDIS_SERVER=/path/to/it  (Redis or Valkey, 7.0 or newer)\n  \
    REDIS_URL=redis://host:6379       (a Redis that already runs)\n  \
    docker compose up                 (Redis and workers in containers)";

/// The reason why no embedded server runs. Messages name the cause and the fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No usable program is installed on this machine.
    #[error("no Redis or Valkey server 7.0 or newer was found ({tried}); {FIXES}")]
    NotFound {
        /// The places that were searched, and the programs that were too old.
        tried: String,
    },
    /// The named program is not a usable server.
    #[error("{} cannot be used as Redis server: {reason}; {FIXES}", path.display())]
    Unusable {
        /// The program.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The server's folder could not be created.
    #[error("no folder for a private Redis server could be made at {}", path.display())]
    Folder {
        /// The folder, or the file in it, that could not be created.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The path of the Unix socket would exceed the system's limit.
    #[error(
        "{} is too long for a Unix socket: set TMPDIR to a shorter path, or REDIS_URL",
        path.display()
    )]
    PathTooLong {
        /// The path of the socket.
        path: PathBuf,
    },
    /// `/bin/sh`, which supervises the server, could not be started.
    #[error("/bin/sh could not be started to run {}", program.display())]
    Spawn {
        /// The server program that it should run.
        program: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The server ended before it answered.
    #[error("{} ended at once ({status}); its log ends with:\n{log}\n{FIXES}", program.display())]
    EndedEarly {
        /// The server program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// The server runs but did not answer PING in time; it has been killed.
    #[error(
        "{} did not answer within {} s; its log ends with:\n{log}\n{FIXES}",
        program.display(),
        READY_TIMEOUT.as_secs()
    )]
    NotReady {
        /// The server program.
        program: PathBuf,
        /// The last lines of its log.
        log: String,
    },
}
