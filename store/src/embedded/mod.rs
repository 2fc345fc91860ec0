//! The embedded default: a real Redis or Valkey, started privately for this process.
//!
//! This module finds a server ([`find_server`]), starts it on a Unix socket in a folder of its own,
//! and ends it with its parent. It downloads nothing: only `cargo xtask` does. Callers resolve `url
//! = "embedded"`; the testkit and xtask use it too.
//!
//! The server must not outlive us, even if SIGKILL ends us and no destructor runs. The parent-death
//! signal of Linux needs code between fork and exec (unsafe, and it follows a thread); a pipe does
//! not. A small shell between us and the server holds the read end, and ends the server when the
//! last write end closes, for whatever reason we ended. See `launch.sh`.

mod error;
mod find;
mod folder;
mod options;
mod process;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::EmbeddedError;
use error::READY_TIMEOUT;
pub use find::{ServerProgram, Version, cache_dir, find_newer, find_server, probe};
use folder::Folder;
pub use options::EmbeddedOptions;
use process::Process;

use redcall_common::settings::RedisSettings;

/// A private Redis server. Dropping it ends the server and removes its folder.
///
/// Dropping blocks until the server has ended: usually up to a tenth of a second, five seconds if
/// it ignores SIGTERM and must be killed, seven at most. If this process ends without dropping it,
/// even by SIGKILL, the server ends too; the next start removes the folder.
///
/// ```
/// use redcall_store::embedded::{Embedded, EmbeddedOptions};
///
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Embedded::start(EmbeddedOptions::default()).await?;
/// assert!(server.url().starts_with("redis+unix:///"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Embedded {
    // Fields drop in this order: the server must end before its folder is removed.
    process: Process,
    folder: Folder,
    /// The program and options of its start.
    program: PathBuf,
    options: EmbeddedOptions,
}

impl Embedded {
    /// Starts a server and returns when it answers PING, within ten seconds.
    ///
    /// Cancel-safe: dropping the future ends the server.
    ///
    /// # Errors
    /// No usable program, no folder, or a server that does not start: see [`EmbeddedError`].
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

    /// Kills the server like a power failure: it writes nothing more. Its folder stays.
    ///
    /// Blocks until the server is dead, a few milliseconds.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Kills the server and starts it again in its folder, at the same address. It keeps the data
    /// that it had written: none without [`EmbeddedOptions::append_only`].
    ///
    /// If the future is dropped early, the server may or may not run; call it again.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_again(&mut self) -> Result<(), EmbeddedError> {
        self.process.kill();
        self.process = Process::spawn(&self.program, &self.folder, &self.options)?;
        self.wait_until_ready().await
    }

    /// Starts a server if the settings have `url = "embedded"`, and sets its address in them;
    /// `None` if they name a Redis. Keep the guard as long as the settings are used.
    ///
    /// Cancel-safe, as [`Self::start`]: the settings change only when the server is ready.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn serve(settings: &mut RedisSettings) -> Result<Option<Self>, EmbeddedError> {
        if !settings.is_embedded() {
            return Ok(None);
        }
        let server = Self::start(EmbeddedOptions::default()).await?;
        settings.url = server.url();
        settings.skip_safety_warning = true;
        Ok(Some(server))
    }

    /// Returns the server's address, `redis+unix:///…/r.sock`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", encode_path(&self.folder.socket()))
    }

    /// Returns the process id of the server itself, not of the supervising shell.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.server_pid()
    }

    /// Returns the server's working directory, with socket, log and append-only file.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the server's log so far; empty if it cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.log()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn wait_until_ready(&mut self) -> Result<(), EmbeddedError> {
        // A local server starts in about 20 ms, so a short period keeps starts fast at little cost.
        const PERIOD: Duration = Duration::from_millis(4);
        let deadline = tokio::time::Instant::now() + READY_TIMEOUT;
        let socket = self.folder.socket();
        loop {
            if let Some(status) = self.process.ended() {
                let (program, log) = (self.program.clone(), self.log_tail());
                return Err(EmbeddedError::EndedEarly { program, status, log });
            }
            let answers = process::answers_ping(&socket);
            match tokio::time::timeout_at(deadline, answers).await {
                // The shell writes the pid right after the start, possibly after the server's first
                // answer.
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

/// Percent-encodes a path for a URL: a temporary folder may have any name.
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
    fn error_lists_fixes() {
        let message = EmbeddedError::NotFound { tried: "PATH".to_owned() }.to_string();
        for fix in ["apt install redis-server", "brew install redis", "REDIS_URL=", "compose up"] {
            assert!(message.contains(fix), "{fix} is missing in: {message}");
        }
    }
}
