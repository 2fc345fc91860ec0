//! Hearing of requests that were submitted: each has a channel of its own, shared by its fetches.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redcall_store::{Link, StoreError};
use tokio::runtime::Handle;

use crate::error::CallError;

/// The channels of one client that fetches listen on.
pub(crate) struct Channels {
    link: Arc<Link>,
    /// Of the client: a listener may be dropped outside of any runtime.
    runtime: Handle,
    /// How long a subscription may last at least. Longer than the driver waits for an answer, so
    /// that one without an answer breaks the connection, instead of staying there unknown.
    patience: Duration,
    /// Written by listeners that come and go, and by [`Channels::close`].
    open: Mutex<HashMap<String, Open>>,
}

struct Open {
    listeners: usize,
    channel: Arc<Channel>,
}

struct Channel {
    name: String,
    /// Held while Redis is told, so that the end of one listening cannot overtake the next one.
    subscribed: tokio::sync::Mutex<bool>,
}

/// Somebody listens. The last one of a channel to go has it unsubscribed, however it goes.
pub(crate) struct Listener {
    channels: Arc<Channels>,
    channel: Arc<Channel>,
}

impl Channels {
    /// Spawns on the runtime of the caller.
    pub(crate) fn new(link: Arc<Link>, response_timeout: Duration) -> Self {
        let patience = response_timeout.saturating_mul(2);
        Self { link, runtime: Handle::current(), patience, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        // Nothing in here panics half-way.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a listener in; it hears something after [`Listener::ready`].
    pub(crate) fn listen(self: &Arc<Self>, name: String) -> Listener {
        let mut open = self.open();
        let open = open.entry(name.clone()).or_insert_with(|| {
            let channel = Channel { name, subscribed: tokio::sync::Mutex::new(false) };
            Open { listeners: 0, channel: Arc::new(channel) }
        });
        open.listeners += 1;
        Listener { channels: self.clone(), channel: open.channel.clone() }
    }

    fn has_listeners(&self, channel: &Channel) -> bool {
        let open = self.open();
        let open = open.get(&channel.name);
        open.is_some_and(|open| std::ptr::eq(&*open.channel, channel) && open.listeners > 0)
    }

    async fn subscribe(&self, channel: &Channel, within: Duration) -> Result<(), StoreError> {
        let mut subscribed = channel.subscribed.lock().await;
        // Without listeners its end may have overtaken it: nothing would unsubscribe it.
        if !*subscribed && self.has_listeners(channel) {
            self.link.subscribe(&channel.name, within.max(self.patience)).await?;
            *subscribed = true;
        }
        Ok(())
    }

    /// Unsubscribes unless somebody has come meanwhile.
    async fn close(&self, channel: &Channel) {
        let mut subscribed = channel.subscribed.lock().await;
        if self.has_listeners(channel) {
            return;
        }
        if std::mem::take(&mut *subscribed) {
            self.link.unsubscribe(&channel.name).await;
        }
        let mut open = self.open();
        if let Entry::Occupied(entry) = open.entry(channel.name.clone())
            && entry.get().listeners == 0
        {
            entry.remove();
        }
    }
}

impl Listener {
    /// Returns once Redis has confirmed the subscription. Cancel safe: a task of its own makes it,
    /// so that one half-made is not forgotten.
    pub(crate) async fn ready(&self, within: Duration) -> Result<(), CallError> {
        let (channels, channel) = (self.channels.clone(), self.channel.clone());
        let subscribing = async move { channels.subscribe(&channel, within).await };
        match self.channels.runtime.spawn(subscribing).await {
            Ok(subscribed) => subscribed.map_err(CallError::unanswered),
            Err(_) => Err(CallError::unanswered(StoreError::Ended)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut open = self.channels.open();
        let Some(open) = open.get_mut(&self.channel.name) else { return };
        open.listeners -= 1;
        if open.listeners == 0 {
            let (channels, channel) = (self.channels.clone(), self.channel.clone());
            self.channels.runtime.spawn(async move { channels.close(&channel).await });
        }
    }
}
