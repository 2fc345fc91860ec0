//! Plain requests that their callers write by themselves, on a connection of their own: no other
//! task has to run before the request leaves.
//!
//! A caller writes if the queue is known to have room and a worker, and if no request of the queue
//! is on its way through the sender, which it would overtake. In every other case, and while the
//! connection is down or has bytes left to send, the request goes to the sender.
//!
//! While several answers are delivered, and while four writes are unanswered, requests are
//! gathered: they go out in one write, in one command per queue.
//!
//! | file | holds |
//! |---|---|
//! | `shared.rs` | the lock that callers, the reader and the sender share |
//! | `line.rs` | the connection, the gathered requests, and the unanswered writes |
//! | `forgotten.rs` | response keys to be deleted |
//! | `reader.rs` | the task that opens the connection and reads the replies |

mod forgotten;
mod line;
mod reader;
mod shared;

use std::sync::Arc;

use redcall_common::keys::QueueKeys;
use redcall_store::Connector;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::reader::PushReader;
pub(crate) use self::shared::{DirectShared, Pushed};
use crate::engine::sender::command::{Command, Outgoing};

/// The client's end. Dropping it ends the reader.
pub(crate) struct DirectPushes {
    shared: Arc<DirectShared>,
    reader: JoinHandle<()>,
    /// Gets the keys that no push has taken along.
    commands: mpsc::Sender<Command>,
}

impl DirectPushes {
    /// Spawns the reader. It connects when a caller could have written.
    pub(crate) fn new(
        shared: Arc<DirectShared>,
        connector: Connector,
        commands: mpsc::Sender<Command>,
    ) -> Self {
        let reader = tokio::spawn(PushReader::new(shared.clone(), connector).run());
        Self { shared, reader, commands }
    }

    /// Writes the requests of one queue, in order; returns those that have to go to the sender.
    pub(crate) fn push(&self, requests: Vec<Outgoing>, now_ms: u64) -> Vec<Outgoing> {
        self.shared.push(requests, now_ms)
    }

    /// Has the key of an answer of so many bytes deleted: by a later push or, soon, by the reader.
    pub(crate) fn forget(&self, keys: &Arc<QueueKeys>, key: &str, bytes: usize) {
        if !self.shared.forget(keys, key, bytes) {
            let _ = self.commands.try_send(Command::Forget(keys.clone(), vec![key.to_owned()]));
        }
    }

    /// Writes what was gathered, and has the sender delete the keys that no push has taken along.
    pub(crate) fn flush(&self) {
        self.shared.uncork();
        while let Some((keys, forgotten)) = self.shared.take_forgotten() {
            let _ = self.commands.try_send(Command::Forget(keys, forgotten));
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
