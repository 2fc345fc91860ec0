//! The reader's end of a subscription.
//!
//! The reader fills a bounded queue. When it is full, the reader records the position and continues
//! from there once there is room: a slow subscriber delays no other and uses no memory beyond its
//! queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redcall_common::event::{Event, EventId, Kind};
use redcall_store::StoreError;
use tokio::sync::mpsc;

/// Capacity of a subscriber's queue, items.
pub(crate) const QUEUE: usize = 1024;

/// An item of a subscription.
#[derive(Debug, Clone)]
pub enum EventItem {
    /// An event, shared by all subscribers of this process.
    Event(Arc<Event>),
    /// Events of any kind were trimmed, because of `events.max` or `events.age`, before they were
    /// read: their number, or `None` if unknown and possibly zero.
    Missed(Option<u64>),
}

/// Number of missed events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missed(pub(crate) Option<u64>);

/// Selected kinds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kinds(Vec<Kind>);

impl Kinds {
    /// Selects this kind in addition to earlier ones.
    pub(crate) fn add(&mut self, kind: Kind) {
        self.0.push(kind);
    }

    /// Returns `true` if this kind is selected: all are, if none or [`Kind::ANY`] was added.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.0.is_empty() || self.0.contains(&Kind::ANY) || self.0.contains(&kind)
    }
}

/// An item of a subscription, or the error that ends it.
pub(crate) type Item = Result<EventItem, StoreError>;

/// The reader's end of a subscription.
pub(crate) struct Subscriber {
    /// Id of the last event sent.
    pub(super) after: EventId,
    kinds: Kinds,
    items: mpsc::Sender<Item>,
    is_full: Arc<AtomicBool>,
}

impl Subscriber {
    /// Returns a subscriber, its queue, and the flag that is set while the queue is full.
    pub(crate) fn new(
        kinds: Kinds,
        after: EventId,
    ) -> (Self, mpsc::Receiver<Item>, Arc<AtomicBool>) {
        let (sender, items) = mpsc::channel(QUEUE);
        let is_full = Arc::<AtomicBool>::default();
        let subscriber = Self { after, kinds, items: sender, is_full: is_full.clone() };
        (subscriber, items, is_full)
    }

    /// Returns `true` if the stream was dropped.
    pub(super) fn is_gone(&self) -> bool {
        self.items.is_closed()
    }

    /// Returns `true` if there is room for many events. If not, the stream wakes the reader later.
    pub(super) fn has_room(&self) -> bool {
        if self.items.capacity() >= QUEUE / 2 {
            return true;
        }
        self.is_full.store(true, Ordering::SeqCst);
        // Items taken before the flag was set have not woken the reader.
        self.items.capacity() >= QUEUE / 2
    }

    /// Sends the number of missed events; returns `false` if the queue is full.
    pub(super) fn send_missed(&self, missed: Missed) -> bool {
        self.push(Ok(EventItem::Missed(missed.0)))
    }

    /// Sends an event if its kind is selected; returns `false` if the queue is full.
    pub(super) fn send_event(&mut self, id: EventId, event: Option<&Arc<Event>>) -> bool {
        let is_wanted = |event: &&Arc<Event>| id > self.after && self.kinds.has(event.kind);
        let sent = match event.filter(is_wanted) {
            Some(event) => self.push(Ok(EventItem::Event(event.clone()))),
            None => true,
        };
        if sent {
            self.after = self.after.max(id);
        }
        sent
    }

    /// Ends the stream with an error.
    pub(super) fn fail(self, error: StoreError) {
        let _ = self.items.try_send(Err(error));
    }

    fn push(&self, item: Item) -> bool {
        let sent = self.items.try_send(item);
        if sent.is_err() {
            self.is_full.store(true, Ordering::SeqCst);
        }
        sent.is_ok()
    }
}
