//! What one who follows a topic gets.
//!
//! The reader fills a bounded queue. When that is full it stops, notes where, and goes on from
//! there when there is room: who is slow holds up nobody, and takes no memory beyond its queue.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::Stream;
use redcall_common::event::{Event, EventId, Kind};
use redcall_store::StoreError;
use tokio::sync::mpsc;

use crate::client::Client;

/// How many items wait for one who follows, at most.
pub(super) const QUEUE: usize = 1024;

/// What following a topic brings.
#[derive(Debug, Clone)]
pub enum EventItem {
    /// An event. All who follow in this process share it.
    Event(Arc<Event>),
    /// Events of any kind were let go, because of `events.max` or `events.age`, before they could
    /// be read: so many, or `None` where that is not known and it may have been none.
    Missed(Option<u64>),
}

/// What was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missed(pub(crate) Option<u64>);

/// Which kinds are wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Kinds(Vec<Kind>);

impl Kinds {
    /// Wants this one, and those that were added before.
    pub(super) fn add(&mut self, kind: Kind) {
        self.0.push(kind);
    }

    /// Whether this one is wanted: all are, if none or [`Kind::ANY`] was added.
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.0.is_empty() || self.0.contains(&Kind::ANY) || self.0.contains(&kind)
    }
}

type Item = Result<EventItem, StoreError>;

/// The events of one topic, as they come. Made by [`crate::Topic::subscribe`].
///
/// It goes on across lost connections, with what was published meanwhile. It ends only with an
/// error that no waiting mends: the key of its topic is no stream. Dropping it is harmless.
pub struct EventStream {
    client: Client,
    items: mpsc::Receiver<Item>,
    is_full: Arc<AtomicBool>,
    last: EventId,
}

/// The reader's end of it.
pub(crate) struct Subscriber {
    /// Behind which event it goes on.
    pub(super) after: EventId,
    kinds: Kinds,
    items: mpsc::Sender<Item>,
    is_full: Arc<AtomicBool>,
}

pub(super) fn new(client: Client, kinds: Kinds, after: EventId) -> (EventStream, Subscriber) {
    let (sender, items) = mpsc::channel(QUEUE);
    let is_full = Arc::<AtomicBool>::default();
    let subscriber = Subscriber { after, kinds, items: sender, is_full: is_full.clone() };
    (EventStream { client, items, is_full, last: after }, subscriber)
}

impl EventStream {
    /// The next item; `None` after an error. Cancel safe.
    pub async fn next(&mut self) -> Option<Item> {
        std::future::poll_fn(|cx| self.poll_item(cx)).await
    }

    /// The last event that was taken, or where it began: [`crate::Topic::after`] goes on there.
    #[must_use]
    pub fn last(&self) -> EventId {
        self.last
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let item = std::task::ready!(self.items.poll_recv(cx));
        if let Some(Ok(EventItem::Event(event))) = &item {
            self.last = event.id;
        }
        // Only with room for many, or each of them would cost a read of its own.
        let has_room = self.items.len() <= QUEUE / 2;
        if has_room && self.is_full.swap(false, Ordering::SeqCst) {
            Self::wake(&self.client);
        }
        Poll::Ready(item)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.items.close();
        Self::wake(&self.client);
    }
}

impl Stream for EventStream {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_item(cx)
    }
}

impl Subscriber {
    /// Whether nobody follows any more.
    pub(super) fn is_gone(&self) -> bool {
        self.items.is_closed()
    }

    /// Whether there is room for many. If not, the reader is told when there is.
    pub(super) fn has_room(&self) -> bool {
        if self.items.capacity() >= QUEUE / 2 {
            return true;
        }
        self.is_full.store(true, Ordering::SeqCst);
        // What was taken before that has told nobody.
        self.items.capacity() >= QUEUE / 2
    }

    /// Hands on what was missed before `event`; whether there was room.
    pub(super) fn send_missed(&self, missed: Missed) -> bool {
        self.push(Ok(EventItem::Missed(missed.0)))
    }

    /// Hands on an event, if it is one that is wanted; whether there was room.
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

    /// Ends it.
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
