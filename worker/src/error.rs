//! Why a worker does not start, or ended.

use std::net::SocketAddr;
use std::path::PathBuf;

use redcall_common::settings::{Settings, SettingsError};
use redcall_store::StoreError;

/// Why a worker does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The job mapping names something that is not there.
    #[error("{}: {key}: {problem}", file.display())]
    Mapping {
        /// The settings file.
        file: PathBuf,
        /// The key in it.
        key: String,
        /// What is wrong and what there is.
        problem: String,
    },
    /// A compiled-in handler cannot be served.
    #[error("the handler of job `{job}` cannot run: {problem}")]
    Handler {
        /// The job's name.
        job: String,
        /// What is missing.
        problem: String,
    },
    /// Redis cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The user at Redis may not do all that a worker does.
    #[error("the Redis user lacks rights that a worker needs: {missing}")]
    Rights {
        /// Which, as `ACL SETUSER` takes them.
        missing: String,
    },
    /// The operating system refused something that the worker needs.
    #[error("the worker cannot run here")]
    System(#[from] std::io::Error),
    /// Probes and metrics cannot be served.
    #[error("admin.listen: cannot listen on {address}")]
    Listen {
        /// What the setting says.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The thread that talks to Redis has ended unexpectedly: a fault of Redcall.
    #[error("the worker's own thread ended unexpectedly; its log says more")]
    Ended,
}

impl WorkerError {
    /// A mistake at `key` of the file that `settings` come from.
    #[must_use]
    pub fn mapping(settings: &Settings, key: String, problem: String) -> Self {
        let file = settings.file.clone().unwrap_or_else(|| PathBuf::from("the environment"));
        Self::Mapping { file, key, problem }
    }
}
