//! The setup of a worker: everything that the owners of its state read. Only a reload writes it.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::keys::Keys;
use redcall_store::{Connection, Session as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::io_event::IoEvent;
use crate::background::reload::Reloaded;
use crate::background::schedules::Schedules;
use crate::causes::with_causes;
use crate::identity::Identity;
use crate::mapping::Mapping;
use crate::metrics::Metrics;
use crate::run::capacity::Capacity;
use crate::run::job::Shared;

/// Longest time until an instant of this process: a later one needs no timer.
const DAY: Duration = Duration::from_secs(86_400);

/// See the module.
pub(crate) struct Setup {
    pub(crate) keys: Keys,
    pub(crate) identity: Identity,
    pub(crate) mapping: Arc<Mapping>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<Metrics>,
    /// Shared with the lanes.
    pub(crate) capacity: Arc<Capacity>,
    /// The runtime of the handlers.
    pub(crate) handlers: Handle,
    pub(crate) lease: Duration,
    /// Connection of heartbeats and schedules: large answers must not delay them. It receives the
    /// control channels.
    pub(crate) heartbeat_conn: Arc<Connection>,
    /// Messages of the worker's tasks to the dispatcher.
    pub(crate) events: mpsc::UnboundedSender<IoEvent>,
    /// Kept to the end: ticks that a draining fleet enqueues wait for the next workers.
    pub(crate) schedules: Schedules,
}

impl Setup {
    /// Returns what a task needs: a connection, and the way back to the dispatcher.
    pub(crate) fn for_task(&self) -> (Arc<Connection>, mpsc::UnboundedSender<IoEvent>) {
        (self.heartbeat_conn.clone(), self.events.clone())
    }

    /// Converts a Redis time to an instant.
    pub(crate) fn instant_of(&self, at_ms: u64) -> Instant {
        Instant::now() + self.heartbeat_conn.left_until(at_ms).min(DAY)
    }

    /// Replaces the mapping and the schedules. Running jobs keep their handlers.
    pub(crate) fn reload(&mut self, reloaded: Reloaded) {
        let conn = &self.heartbeat_conn;
        match Schedules::spawn(&reloaded.settings, &reloaded.mapping, conn) {
            Ok(schedules) => self.schedules = schedules,
            Err(error) => {
                tracing::error!(error = %with_causes(&error), "keeping the present schedules")
            }
        }
        let before = std::mem::replace(&mut self.mapping, Arc::new(reloaded.mapping));
        self.handlers.spawn(async move { before.close().await });
        let before = std::mem::replace(&mut self.identity.names, self.mapping.names());
        let after = &self.identity.names;
        let new: Vec<&String> = after.iter().filter(|name| !before.contains(name)).collect();
        let gone: Vec<&String> = before.iter().filter(|name| !after.contains(name)).collect();
        tracing::info!(jobs = after.len(), ?new, ?gone, "reloaded the jobs");
    }
}
