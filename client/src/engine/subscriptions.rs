//! Channels of submitted requests: one per request, shared by all its fetches.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redcall_store::{Connection, Session as _, StoreError};
use tokio::runtime::Handle;

use crate::error::CallError;

/// The reference-counted subscriptions of one client.
pub(crate) struct Subscriptions {
    link: Arc<Connection>,
    /// The client's runtime: a subscription may be dropped outside of any runtime.
    runtime: Handle,
    /// Minimum timeout of a subscribe command. Longer than the driver's response timeout, so that a
    /// lost reply breaks the connection instead of leaving a half-open subscription.
    min_timeout: Duration,
    /// Written when subscriptions are added or dropped, and by [`Subscriptions::close`].
    open: Mutex<HashMap<String, Open>>,
}

struct Open {
    users: usize,
    channel: Arc<Channel>,
}

struct Channel {
    name: String,
    /// Held during a subscribe or unsubscribe command, so that an unsubscribe cannot overtake the
    /// next subscribe.
    subscribed: tokio::sync::Mutex<bool>,
}

/// One user of a channel. Dropping the last one unsubscribes.
pub(crate) struct Subscription {
    subscriptions: Arc<Subscriptions>,
    channel: Arc<Channel>,
}

impl Subscriptions {
    /// Creates the table. It spawns on the caller's runtime.
    pub(crate) fn new(link: Arc<Connection>, response_timeout: Duration) -> Self {
        let min_timeout = response_timeout.saturating_mul(2);
        Self { link, runtime: Handle::current(), min_timeout, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        // No code panics while it holds the lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a user of channel `name`. It receives messages after [`Subscription::ready`].
    pub(crate) fn add(self: &Arc<Self>, name: String) -> Subscription {
        let mut open = self.open();
        let open = open.entry(name.clone()).or_insert_with(|| {
            let channel = Channel { name, subscribed: tokio::sync::Mutex::new(false) };
            Open { users: 0, channel: Arc::new(channel) }
        });
        open.users += 1;
        Subscription { subscriptions: self.clone(), channel: open.channel.clone() }
    }

    fn is_used(&self, channel: &Channel) -> bool {
        let open = self.open();
        let open = open.get(&channel.name);
        open.is_some_and(|open| std::ptr::eq(&*open.channel, channel) && open.users > 0)
    }

    async fn subscribe(&self, channel: &Channel, timeout: Duration) -> Result<(), StoreError> {
        let mut subscribed = channel.subscribed.lock().await;
        // Without users, `close` may have run already: nothing would unsubscribe it.
        if !*subscribed && self.is_used(channel) {
            self.link.subscribe(&channel.name, timeout.max(self.min_timeout)).await?;
            *subscribed = true;
        }
        Ok(())
    }

    /// Unsubscribes unless the channel has a user again.
    async fn close(&self, channel: &Channel) {
        let mut subscribed = channel.subscribed.lock().await;
        if self.is_used(channel) {
            return;
        }
        if std::mem::take(&mut *subscribed) {
            self.link.unsubscribe(&channel.name).await;
        }
        let mut open = self.open();
        if let Entry::Occupied(entry) = open.entry(channel.name.clone())
            && entry.get().users == 0
        {
            entry.remove();
        }
    }
}

impl Subscription {
    /// Returns once Redis has confirmed the subscription. Cancel safe: a task of its own
    /// subscribes.
    pub(crate) async fn ready(&self, timeout: Duration) -> Result<(), CallError> {
        let (subscriptions, channel) = (self.subscriptions.clone(), self.channel.clone());
        let subscribing = async move { subscriptions.subscribe(&channel, timeout).await };
        match self.subscriptions.runtime.spawn(subscribing).await {
            Ok(subscribed) => subscribed.map_err(CallError::unanswered),
            Err(_) => Err(CallError::unanswered(StoreError::Ended)),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut open = self.subscriptions.open();
        let Some(open) = open.get_mut(&self.channel.name) else { return };
        open.users -= 1;
        if open.users == 0 {
            let (subscriptions, channel) = (self.subscriptions.clone(), self.channel.clone());
            self.subscriptions.runtime.spawn(async move { subscriptions.close(&channel).await });
        }
    }
}
