//! A Redis server that a test may kill and start again with its data.

use std::path::PathBuf;

use redcall_common::settings::RedisSettings;
use redcall_store::embedded::{Embedded, EmbeddedOptions};

/// A server on a Unix socket that writes every command to its append-only file before it answers.
/// Dropping ends it.
#[derive(Debug)]
pub struct RestartableRedis(Embedded);

impl RestartableRedis {
    /// Starts it without data.
    ///
    /// # Panics
    /// When there is no server on the machine, or it does not start.
    pub async fn start() -> Self {
        let extra_args = ["--appendfsync", "always"].map(str::to_owned).to_vec();
        let options = EmbeddedOptions { append_only: true, extra_args, ..Default::default() };
        Self(Embedded::start(options).await.unwrap())
    }

    /// Ends it as a power failure would.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Starts it with its earlier data. Returns once it answers.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_again(&mut self) {
        self.0.start_again().await.unwrap();
    }

    /// Default settings with its address, which stays the same.
    #[must_use]
    pub fn settings(&self) -> RedisSettings {
        RedisSettings { url: self.0.url(), url_named: true, ..RedisSettings::default() }
    }

    /// Its Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.0.dir().join("r.sock")
    }
}
