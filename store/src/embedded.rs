//! The embedded default: the real Redis or Valkey, started privately for this process.
//!
//! Here lives how a server is found ([`find_server`]), started on a Unix socket in a folder of
//! its own, and ended with its parent. Nothing is downloaded here: only `cargo xtask` does that.
//! Called by whoever resolves `url = "embedded"`, by the testkit and by xtask.
//!
//! The server must not outlive us, even when we are killed by SIGKILL and no destructor runs. The
//! parent-death signal of Linux needs code between fork and exec (unsafe, and it follows a thread);
//! a pipe does not: a small shell between us and the server holds its read end, and when the last
//! write end closes, because we ended for whatever reason, it ends the server. See `launch.sh`.

mod find;
mod folder;
mod process;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

pub use find::{ServerProgram, Version, cache_dir, find_newer, find_server, probe};
use folder::Folder;
use process::Process;

use redcall_common::settings::RedisSettings;

/// The address in the settings that asks for a private server.
const EMBEDDED: &str = "embedded";

/// How long a started server may take until it answers PING.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// What to do when there is no usable server. Ends the messages that need it.
const FIXES: &str = "any of these helps:\n  \
    apt install redis-server          (Debian, Ubuntu)\n  \
    brew install redis                (macOS)\n  \
    REDCALL_REDIS_SERVER=/path/to/it  (Redis or Valkey, 7.0 or newer)\n  \
    REDIS_URL=redis://host:6379       (a Redis that already runs)\n  \
    docker compose up                 (Redis and workers in containers)";

/// Why no embedded server runs. The messages name the cause and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No usable program on this machine.
    #[error("no Redis or Valkey server 7.0 or newer was found ({tried}); {FIXES}")]
    NotFound {
        /// Where it was looked for, and which finds were too old.
        tried: String,
    },
    /// A program was named, but it is not a server that can be used.
    #[error("{} cannot be used as Redis server: {reason}; {FIXES}", path.display())]
    Unusable {
        /// The program.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The server's folder could not be made.
    #[error("no folder for a private Redis server could be made at {}", path.display())]
    Folder {
        /// The folder, or what was to be made in it.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The path of the Unix socket would be too long for the system.
    #[error(
        "{} is too long for a Unix socket: set TMPDIR to a shorter path, or REDIS_URL",
        path.display()
    )]
    PathTooLong {
        /// The path of the socket.
        path: PathBuf,
    },
    /// `/bin/sh`, which watches over the server, could not be started.
    #[error("/bin/sh could not be started to run {}", program.display())]
    Spawn {
        /// The server program that was to run.
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
    /// The server runs but did not answer PING in time; it has been ended.
    #[error(
        "{} did not answer within {} s; its log ends with:\n{log}\n{FIXES}",
        program.display(),
        READY_WITHIN.as_secs()
    )]
    NotReady {
        /// The server program.
        program: PathBuf,
        /// The last lines of its log.
        log: String,
    },
}

/// How to start an embedded server. The default: found by [`find_server`], nothing on disk.
#[derive(Debug, Clone, Default)]
pub struct EmbeddedOptions {
    /// The server program; `None` to look for one.
    pub program: Option<PathBuf>,
    /// Keep an append-only file, as production should. It lives in the server's folder and ends
    /// with it: this is for what waits on `WAITAOF` or restarts the server in place.
    pub append_only: bool,
    /// Further arguments, after ours, so that they win: `["--maxmemory", "10mb"]`.
    pub extra_args: Vec<String>,
}

/// A private Redis server, and the guard of its life: dropping it ends the server and removes its
/// folder.
///
/// Dropping blocks until the server has ended: up to a tenth of a second as a rule, five seconds
/// when it does not react to SIGTERM and must be killed, seven at most. When this process ends
/// without dropping it, even by SIGKILL, the server ends too; the next start removes the folder.
#[derive(Debug)]
pub struct Embedded {
    // Fields drop in this order: the server must have ended before its folder goes.
    process: Process,
    folder: Folder,
    /// What it was started with.
    program: PathBuf,
    options: EmbeddedOptions,
}

impl Embedded {
    /// Starts a server and returns when it answers PING, within ten seconds.
    ///
    /// Cancel-safe: when dropped early, what was started is ended.
    ///
    /// # Errors
    /// No usable program, no folder, or a server that does not come up: see [`EmbeddedError`].
    pub async fn start(mut options: EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let program = match options.program.take() {
            Some(program) => program,
            None => find_server()?.path,
        };
        folder::sweep();
        let folder = Folder::create()?;
        let process = Process::spawn(&program, &folder, &options)?;
        let mut server = Self { process, folder, program, options };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// Kills the server, as a power failure would: nothing more is written. Its folder stays.
    ///
    /// Blocks until it is dead, a few milliseconds.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Kills the server and starts it again in its folder, at the same address. What is in it then
    /// is what it had written: nothing without [`EmbeddedOptions::append_only`].
    ///
    /// Dropped early, the server may run or not; it can be called again.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_again(&mut self) -> Result<(), EmbeddedError> {
        self.process.kill();
        self.process = Process::spawn(&self.program, &self.folder, &self.options)?;
        self.wait_until_ready().await
    }

    /// Starts a server if the settings ask for one by `url = "embedded"`, and points them at it;
    /// `None` if they name a Redis. Keep the guard for as long as the settings are used.
    ///
    /// Cancel-safe, as [`Self::start`]: the settings change only when the server is ready.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn serve(settings: &mut RedisSettings) -> Result<Option<Self>, EmbeddedError> {
        if settings.url != EMBEDDED {
            return Ok(None);
        }
        let server = Self::start(EmbeddedOptions::default()).await?;
        settings.url = server.url();
        settings.skip_safety_warning = true;
        Ok(Some(server))
    }

    /// The server's address, `redis+unix:///…/r.sock`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", encode_path(&self.folder.socket()))
    }

    /// The process id of the server itself (not of the shell that watches over it).
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.server_pid()
    }

    /// The server's working directory: socket, log and append-only file.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// The server's log so far; empty when it cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.log()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn wait_until_ready(&mut self) -> Result<(), EmbeddedError> {
        // A local server is up within some 20 ms, so a short period keeps starts quick, and the
        // few polls cost nothing.
        const PERIOD: Duration = Duration::from_millis(4);
        let deadline = tokio::time::Instant::now() + READY_WITHIN;
        let socket = self.folder.socket();
        loop {
            if let Some(status) = self.process.ended() {
                let (program, log) = (self.program.clone(), self.log_tail());
                return Err(EmbeddedError::EndedEarly { program, status, log });
            }
            let answers = process::answers_ping(&socket);
            match tokio::time::timeout_at(deadline, answers).await {
                // The shell notes the pid right after the start, but nothing orders that before
                // the server's first answer.
                Ok(true) if self.process.learn_pid(&self.folder) => return Ok(()),
                Ok(_) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(PERIOD).await;
                }
                _ => {
                    let (program, log) = (self.program.clone(), self.log_tail());
                    return Err(EmbeddedError::NotReady { program, log });
                }
            }
        }
    }

    fn log_tail(&self) -> String {
        const LINES: usize = 12;
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        if lines.is_empty() {
            return "(nothing)".to_owned();
        }
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

/// Percent-encodes what may not stand in the path of a URL: a temporary folder may have any name.
fn encode_path(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;

    let mut url = String::new();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => url.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => url.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => _ = write!(url, "%{byte:02X}"),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_survives_any_folder_name() {
        assert_eq!(encode_path(Path::new("/tmp/redcall-1_x/r.sock")), "/tmp/redcall-1_x/r.sock");
        assert_eq!(encode_path(Path::new("/a b/?#/ü/r.sock")), "/a%20b/%3F%23/%C3%BC/r.sock");
    }

    #[test]
    fn the_error_lists_what_helps() {
        let message = EmbeddedError::NotFound { tried: "PATH".to_owned() }.to_string();
        for fix in ["apt install redis-server", "brew install redis", "REDIS_URL=", "compose up"] {
            assert!(message.contains(fix), "{fix} is missing in: {message}");
        }
    }
}
