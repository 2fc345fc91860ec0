//! Channels and connections between the dispatcher, its tasks and other workers.

use std::sync::Arc;

use redcall_store::Connection;
use tokio::sync::mpsc;

use super::io_event::IoEvent;
use super::notices::Notices;
use super::rights::Rights;
use super::schedules::Schedules;

/// Channels and connections between the dispatcher, its tasks and other workers.
pub(crate) struct Channels {
    pub(crate) events: mpsc::UnboundedSender<IoEvent>,
    /// Taken by the dispatcher when it runs.
    pub(crate) event_receiver: Option<mpsc::UnboundedReceiver<IoEvent>>,
    /// Names of control messages.
    pub(crate) notices: Arc<Notices>,
    /// Connection of heartbeats and schedules: large answers must not delay them. It receives the
    /// control channels.
    pub(crate) heartbeat_conn: Arc<Connection>,
    /// Locked by the task that follows a round of heartbeats.
    pub(crate) follow_up: Arc<tokio::sync::Mutex<()>>,
    /// The rights of the Redis user.
    pub(crate) rights: Rights,
    /// Kept to the end: ticks that a draining fleet enqueues wait for the next workers.
    pub(crate) schedules: Schedules,
}

impl Channels {
    /// Returns what a task needs: a connection, and the way back to the dispatcher.
    pub(crate) fn for_task(&self) -> (Arc<Connection>, mpsc::UnboundedSender<IoEvent>) {
        (self.heartbeat_conn.clone(), self.events.clone())
    }
}
