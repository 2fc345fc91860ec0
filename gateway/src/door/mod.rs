//! A door: one `[gateways.NAME]` at run time, and all that protocols share.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | [`Door`]: its settings, its client, its end |
//! | `inward.rs` | from a foreign name to a request of Redcall, and to its end |
//! | `failure.rs` | [`Failure`]: an error as protocols map it |
//! | `outward.rs` | the worker of the jobs that the foreign side runs |
//! | `listener.rs` | accepting connections: their number, their tasks, their end |
//! | `guard.rs` | a panic ends one task, and no door |
//! | `stream.rs` | [`Stream`]: one connection, whose writes end in time |
//! | `tls.rs` | certificates |
//! | `metrics.rs` | the counters of doors |

mod failure;
mod guard;
mod inward;
mod listener;
mod metrics;
mod outward;
mod stream;
mod tls;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use redcall_client::Client;
use redcall_common::settings::{GatewaySettings, Settings};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TrackedFuture;

pub(crate) use failure::Failure;
pub(crate) use listener::{Connection, Listener, Listeners};
pub(crate) use metrics::{DoorMetrics, Metrics};
pub(crate) use outward::{ForeignJob, Peer};
pub(crate) use stream::Stream;
pub(crate) use tls::acceptor;

/// One `[gateways.NAME]` at run time.
pub(crate) struct Door {
    name: String,
    settings: GatewaySettings,
    /// All settings of the program, for the worker of `serves`.
    all: Arc<Settings>,
    client: Client,
    metrics: DoorMetrics,
    /// The connections that may still be opened.
    permits: Arc<Semaphore>,
    /// The tasks of its connections and calls.
    tasks: TaskTracker,
    draining: CancellationToken,
}

/// Why no further message is read from a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// No complete message came within `idle`.
    Idle,
    /// The door drains.
    Draining,
}

impl Door {
    pub(crate) fn new(
        name: &str,
        settings: &GatewaySettings,
        all: Arc<Settings>,
        client: Client,
        (metrics, draining): (&Metrics, CancellationToken),
    ) -> Self {
        Self {
            name: name.to_owned(),
            settings: settings.clone(),
            all,
            client,
            metrics: metrics.of(name),
            permits: Arc::new(Semaphore::new(settings.listening.connections)),
            tasks: TaskTracker::new(),
            draining,
        }
    }

    /// Returns its name in the settings.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn settings(&self) -> &GatewaySettings {
        &self.settings
    }

    /// Returns the settings of the whole program.
    pub(crate) fn all_settings(&self) -> &Settings {
        &self.all
    }

    /// Returns the client that signs with the door's `sign_with`.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn metrics(&self) -> &DoorMetrics {
        &self.metrics
    }

    /// Completes when the door drains: accept nothing more, end open requests, then return. Cancel
    /// safe.
    pub(crate) async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Marks the future of a task of its own that waits for calls: the process flushes the door's
    /// client only after it was dropped.
    pub(crate) fn tracked<F: Future>(&self, task: F) -> TrackedFuture<F> {
        self.tasks.track_future(task)
    }

    /// Returns the tracker of [`Door::tracked`].
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits for the next message of a connection. An error states why none is read any more; it
    /// was counted. Dropping the future drops `reading`.
    pub(crate) async fn next<T>(&self, reading: impl Future<Output = T>) -> Result<T, Over> {
        let idle = self.settings.listening.idle.unwrap_or(Duration::MAX);
        tokio::select! {
            biased;
            () = self.draining() => Err(Over::Draining),
            read = timeout(idle, reading) => read.map_err(|_| {
                self.metrics.refused("idle");
                Over::Idle
            }),
        }
    }

    /// Returns `true` if `token` is the door's token, or the door has none. Takes the same time for
    /// every wrong token of the same length.
    pub(crate) fn admits(&self, token: &[u8]) -> bool {
        let wanted = self.settings.listening.token.as_ref();
        wanted.is_none_or(|wanted| wanted.reveal().as_bytes().ct_eq(token).into())
    }
}
