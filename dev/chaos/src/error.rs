//! [`ChaosError`]: the reasons why a run could not be made.

use std::io;

use redcall_client::StoreError;
use redcall_store::embedded::EmbeddedError;
use tokio::task::JoinError;

/// The reason why a run could not be made. A finding is not an error.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// No private Redis.
    #[error(transparent)]
    Redis(#[from] EmbeddedError),
    /// A caller cannot connect.
    #[error("a caller cannot connect to the private Redis")]
    Caller(#[from] StoreError),
    /// No worker process.
    #[error("a worker process could not be started")]
    Worker(#[source] io::Error),
    /// No folder, or no file in it.
    #[error("cannot write the history or read the private Redis")]
    History(#[from] io::Error),
    /// A part of the run has panicked: a fault of Redcall.
    #[error("a part of the run has failed: {0}")]
    Panicked(String),
}

impl ChaosError {
    pub(crate) fn panicked(error: JoinError) -> Self {
        Self::Panicked(error.to_string())
    }
}
