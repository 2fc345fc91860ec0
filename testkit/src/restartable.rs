//! A Redis server that a test may kill and start again with what it had written.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use redcall_common::settings::RedisSettings;
use redcall_common::store::embedded::find_server;
use tempfile::TempDir;

use crate::eventually;

/// A server on a Unix socket that writes every command to its append-only file before it answers.
/// Dropping kills it.
#[derive(Debug)]
pub struct RestartableRedis {
    server: Option<Child>,
    // After the server, which writes there.
    dir: TempDir,
}

impl RestartableRedis {
    /// Starts it with nothing in it.
    ///
    /// # Panics
    /// When there is no server on the machine, or it does not start.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder for the server");
        let mut redis = Self { server: None, dir };
        redis.start_again().await;
        redis
    }

    /// Ends it as a power failure would.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Starts it with what it had written. Returns once it answers.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_again(&mut self) {
        self.kill();
        let program = find_server().expect("a Redis or Valkey server").path;
        let mut command = Command::new(program);
        command.args(["--port", "0", "--unixsocket", "r.sock", "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(Stdio::null());
        self.server = Some(command.spawn().expect("start the server"));
        eventually("the server to answer", async || {
            let client = redis::Client::open(self.settings().url).ok()?;
            let mut conn = client.get_multiplexed_async_connection().await.ok()?;
            redis::cmd("PING").query_async::<String>(&mut conn).await.ok()
        })
        .await;
    }

    /// Default settings with its address, which stays the same.
    #[must_use]
    pub fn settings(&self) -> RedisSettings {
        let url = format!("redis+unix://{}", self.socket().display());
        RedisSettings { url, url_named: true, ..RedisSettings::default() }
    }

    /// Its Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("r.sock")
    }
}

impl Drop for RestartableRedis {
    fn drop(&mut self) {
        self.kill();
    }
}
