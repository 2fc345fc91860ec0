//! Plain requests that their callers write by themselves, on a connection of their own: no other
//! task has to run before the request leaves.
//!
//! A caller writes if the queue is known to have room and a worker, and if no request of the queue
//! is on its way through the sender, which it would overtake. In every other case, and while the
//! connection is down or has bytes left to send, the request goes to the sender.
//!
//! | file | holds |
//! |---|---|
//! | `shared.rs` | the connection and the pushes on it, which callers and the reader share |
//! | `reader.rs` | the task that opens the connection and reads the replies |

mod reader;
mod shared;

use std::sync::Arc;

use redcall_common::keys::QueueKeys;
use redcall_store::Connector;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::reader::PushReader;
pub(crate) use self::shared::{DirectShared, Pushed};
use crate::engine::in_flight::InFlight;
use crate::engine::sender::command::{Command, Outgoing};

/// The client's end. Dropping it ends the reader.
pub(crate) struct DirectPushes {
    shared: Arc<DirectShared>,
    reader: JoinHandle<()>,
    /// Gets the keys that no push has taken along.
    commands: mpsc::Sender<Command>,
}

impl DirectPushes {
    /// Spawns the reader. It connects when a caller could have written. The sender gets each push
    /// with an unusual reply by `pushed`.
    pub(crate) fn new(
        connector: Connector,
        in_flight: InFlight,
        pushed: mpsc::UnboundedSender<Pushed>,
        commands: mpsc::Sender<Command>,
    ) -> Self {
        let shared = Arc::new(DirectShared::new(in_flight, pushed));
        let reader = tokio::spawn(PushReader::new(shared.clone(), connector).run());
        Self { shared, reader, commands }
    }

    pub(crate) fn shared(&self) -> &Arc<DirectShared> {
        &self.shared
    }

    /// Writes the request, or returns it if it has to go to the sender.
    pub(crate) fn push(&self, outgoing: Outgoing, now_ms: u64) -> Option<Outgoing> {
        self.shared.push(outgoing, now_ms)
    }

    /// Has a response key deleted that was read: by the next push or, soon, by the reader.
    pub(crate) fn forget(&self, keys: &Arc<QueueKeys>, key: &str) {
        if !self.shared.forget(keys, key) {
            let _ = self.commands.try_send(Command::Forget(keys.clone(), key.to_owned()));
        }
    }

    /// Has the sender delete the keys that no push has taken along.
    pub(crate) fn flush(&self) {
        for (keys, key) in self.shared.take_forgotten() {
            let _ = self.commands.try_send(Command::Forget(keys, key));
        }
    }
}

impl Drop for DirectPushes {
    fn drop(&mut self) {
        self.flush();
        self.reader.abort();
    }
}

#[cfg(test)]
mod tests;
