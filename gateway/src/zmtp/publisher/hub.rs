//! The subscribers of a door, each with a bounded queue.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::zmtp::wire::filters::Filters;
use crate::zmtp::wire::{Violation, encode};

/// The most messages, and bytes, that wait for one subscriber. A single larger message waits alone.
const MESSAGES: usize = 1000;
const BYTES: usize = 1 << 20;

/// The subscribers of a door.
pub(super) struct Hub {
    subscribers: Mutex<Subscribers>,
}

#[derive(Default)]
struct Subscribers {
    by_id: HashMap<u64, Arc<Subscriber>>,
    next_id: u64,
}

/// A subscriber in a hub; dropping it removes it.
pub(super) struct Joined {
    hub: Arc<Hub>,
    id: u64,
    subscriber: Arc<Subscriber>,
}

struct Subscriber {
    state: Mutex<State>,
    /// Notified when a message is added.
    added: Notify,
}

#[derive(Default)]
struct State {
    filters: Filters,
    /// Encoded messages; those of one event are shared by all subscribers.
    queue: VecDeque<Bytes>,
    bytes: usize,
}

// No code panics while it holds a lock, so the values are consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Adds a message; returns `false` if there is no room for it.
    fn add(&mut self, message: Bytes) -> bool {
        let is_full = self.queue.len() >= MESSAGES || self.bytes + message.len() > BYTES;
        if is_full && !self.queue.is_empty() {
            return false;
        }
        self.bytes += message.len();
        self.queue.push_back(message);
        true
    }

    /// Removes messages until they have `max` bytes or more.
    fn take(&mut self, max: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(message) = self.queue.pop_front()
        {
            self.bytes -= message.len();
            taken.extend_from_slice(&message);
        }
        taken
    }
}

impl Hub {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { subscribers: Mutex::default() })
    }

    /// Adds a subscriber without a subscription.
    pub(super) fn join(self: &Arc<Self>) -> Joined {
        let subscriber = Arc::new(Subscriber { state: Mutex::default(), added: Notify::new() });
        let mut all = lock(&self.subscribers);
        let id = all.next_id;
        all.next_id += 1;
        all.by_id.insert(id, subscriber.clone());
        drop(all);
        Joined { hub: self.clone(), id, subscriber }
    }

    /// Queues a message for every subscriber of the topic `number`; returns for how many there was
    /// no room.
    pub(super) fn send(&self, number: u32, body: &[u8]) -> u64 {
        let topic = number.to_le_bytes();
        let message = Bytes::from(encode::message(&[&topic, body]));
        let mut dropped = 0;
        for subscriber in lock(&self.subscribers).by_id.values() {
            let mut state = lock(&subscriber.state);
            if state.filters.matches(topic) {
                let is_added = state.add(message.clone());
                drop(state);
                match is_added {
                    true => subscriber.added.notify_one(),
                    false => dropped += 1,
                }
            }
        }
        dropped
    }
}

impl Joined {
    /// Changes the subscriptions.
    pub(super) fn subscribe(&self, prefix: &[u8]) -> Result<(), Violation> {
        lock(&self.subscriber.state).filters.subscribe(prefix)
    }

    pub(super) fn cancel(&self, prefix: &[u8]) {
        lock(&self.subscriber.state).filters.cancel(prefix);
    }

    /// Queues bytes for this subscriber alone; drops them if there is no room.
    pub(super) fn add(&self, bytes: Vec<u8>) {
        if lock(&self.subscriber.state).add(bytes.into()) {
            self.subscriber.added.notify_one();
        }
    }

    /// Waits for messages, and takes some of them as one text. Cancel safe.
    pub(super) async fn take(&self) -> Vec<u8> {
        /// Enough for one write; the rest stays in the queue, which is bounded.
        const MAX: usize = 64 << 10;
        loop {
            let taken = lock(&self.subscriber.state).take(MAX);
            if !taken.is_empty() {
                return taken;
            }
            self.subscriber.added.notified().await;
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        lock(&self.hub.subscribers).by_id.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn slow_subscriber_loses_messages_and_no_other_does() {
        let hub = Hub::new();
        let (slow, prompt, other) = (hub.join(), hub.join(), hub.join());
        slow.subscribe(b"").unwrap();
        prompt.subscribe(&4001_u32.to_le_bytes()).unwrap();
        other.subscribe(&1001_u32.to_le_bytes()).unwrap();
        let one = encode::message(&[&4001_u32.to_le_bytes(), b"{}"]);
        for _ in 0..MESSAGES {
            assert_eq!(hub.send(4001, b"{}"), 0);
            assert_eq!(prompt.take().await, one);
        }
        assert_eq!(hub.send(4001, b"{}"), 1);
        assert_eq!(prompt.take().await, one);
        let large = vec![b'x'; BYTES];
        assert_eq!(hub.send(4001, &large), 1, "and the prompt one has room for a large one");
        assert!(prompt.take().await.len() > BYTES);
        let mut taken = 0;
        while taken < MESSAGES * one.len() {
            taken += slow.take().await.len();
        }
        assert_eq!((taken, hub.send(4001, b"{}")), (MESSAGES * one.len(), 0));
        for _ in 0..3 {
            hub.send(1001, &large[..BYTES / 2]);
        }
        assert_eq!(lock(&other.subscriber.state).queue.len(), 1, "the second is over the bytes");
        drop(other);
        assert_eq!(lock(&hub.subscribers).by_id.len(), 2);
    }
}
