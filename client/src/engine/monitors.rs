//! Monitors of job states that wait for messages on a channel.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Monitors that wait for changes, by channel name.
#[derive(Default)]
pub(crate) struct Monitors {
    /// Written by monitors that start and end; read by the task of the connection.
    open: Mutex<HashMap<String, watch::Sender<()>>>,
}

impl Monitors {
    fn open(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        // No code panics while it holds the lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the monitors of a channel. Runs inside the connection's own task: must not block.
    pub(crate) fn notify(&self, channel: &[u8]) {
        let Ok(channel) = std::str::from_utf8(channel) else { return };
        if let Some(changes) = self.open().get(channel) {
            changes.send_replace(());
        }
    }

    /// Waits for changes of `channel`; none after this call is missed.
    pub(crate) fn wait_for(self: &Arc<Self>, channel: &str) -> Changes {
        let mut open = self.open();
        let changes = open.entry(channel.to_owned()).or_insert_with(|| watch::Sender::new(()));
        let changes = Some(changes.subscribe());
        Changes { monitors: self.clone(), channel: channel.to_owned(), changes }
    }
}

/// A monitor's wait for changes. Dropping the last one of a channel removes the channel.
pub(crate) struct Changes {
    monitors: Arc<Monitors>,
    channel: String,
    /// Present until drop.
    changes: Option<watch::Receiver<()>>,
}

impl Changes {
    /// Returns once there is a change since the last call.
    pub(crate) async fn changed(&mut self) {
        match &mut self.changes {
            // The sender stays in the table as long as this receiver.
            Some(changes) => drop(changes.changed().await),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        let mut open = self.monitors.open();
        self.changes = None;
        if open.get(&self.channel).is_some_and(|changes| changes.receiver_count() == 0) {
            open.remove(&self.channel);
        }
    }
}
