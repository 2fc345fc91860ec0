//! Errors that prevent a worker from starting, or end it.

use std::net::SocketAddr;
use std::path::PathBuf;

use redcall_common::settings::{Settings, SettingsError};
use redcall_store::StoreError;

/// An error that prevents a worker from starting, or ends it.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The job mapping names a handler, program or pool that does not exist.
    #[error("{}: {key}: {problem}", file.display())]
    Mapping {
        /// The settings file.
        file: PathBuf,
        /// The key in it.
        key: String,
        /// The mistake and the known alternatives.
        problem: String,
    },
    /// A compiled-in handler cannot run.
    #[error("the handler of job `{job}` cannot run: {problem}")]
    Handler {
        /// The job's name.
        job: String,
        /// The missing part.
        problem: String,
    },
    /// Redis cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The Redis user lacks rights that a worker needs.
    #[error("the Redis user lacks rights that a worker needs: {missing}")]
    Rights {
        /// The missing rights, in the form of `ACL SETUSER`.
        missing: String,
    },
    /// The operating system refused a resource that the worker needs.
    #[error("the operating system refused a resource that the worker needs")]
    System(#[from] std::io::Error),
    /// Probes and metrics cannot be served.
    #[error("admin.listen: cannot listen on {address}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The I/O thread ended unexpectedly: a bug in Redcall.
    #[error("the I/O thread ended unexpectedly (a bug in Redcall): see the log")]
    IoThreadEnded,
}

impl WorkerError {
    /// Returns an error about `key` of the file that `settings` come from.
    #[must_use]
    pub fn mapping(settings: &Settings, key: String, problem: String) -> Self {
        let file = settings.file.clone().unwrap_or_else(|| PathBuf::from("the environment"));
        Self::Mapping { file, key, problem }
    }
}
