//! Errors that prevent a gateway from starting, or end it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use redcall_client::{CallError, StoreError};
use redcall_worker::WorkerError;

/// An error that prevents a gateway from starting, or ends it.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The settings have no `[gateways]`.
    #[error("the settings have no [gateways.NAME]: there is no door to open")]
    NoDoors,
    /// Redis cannot be used.
    #[error("cannot use Redis")]
    Redis(#[source] StoreError),
    /// Probes and metrics cannot be served.
    #[error("admin.listen: cannot listen on {address}")]
    Admin {
        /// The configured address.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A door cannot be opened, or has ended.
    #[error("gateways.{door}: {}", .source.summary())]
    Door {
        /// Its name.
        door: String,
        /// The reason.
        source: DoorError,
    },
    /// The operating system refused a resource that the gateway needs.
    #[error("the operating system refused a resource that the gateway needs")]
    System(#[from] io::Error),
}

/// Why a door cannot be opened, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// An address cannot be bound.
    #[error("{key}: cannot listen on {address}")]
    Listen {
        /// The key in the door's settings.
        key: &'static str,
        /// The configured address.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file of the settings cannot be used.
    #[error("{}: {problem}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The problem.
        problem: String,
    },
    /// Redis cannot be used.
    #[error(transparent)]
    Store(Box<StoreError>),
    /// Redis cannot be used by the door's client.
    #[error(transparent)]
    Client(Box<CallError>),
    /// The worker of the jobs in `serves` cannot run.
    #[error(transparent)]
    Worker(Box<WorkerError>),
    /// A task of the door panicked; the log has the message.
    #[error("a task of the door panicked (a bug in Redcall): see the log")]
    Panicked,
    /// The protocol cannot go on, for a reason of its own.
    #[error("{0}")]
    Protocol(String),
}

impl DoorError {
    /// Returns its message in one line, for the message of the whole error.
    fn summary(&self) -> String {
        self.to_string()
    }
}

impl From<StoreError> for DoorError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<CallError> for DoorError {
    fn from(error: CallError) -> Self {
        Self::Client(Box::new(error))
    }
}

impl From<WorkerError> for DoorError {
    fn from(error: WorkerError) -> Self {
        Self::Worker(Box::new(error))
    }
}
