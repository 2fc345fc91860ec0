//! The events of one subscriber.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::Stream;
use redcall_common::event::EventId;
use tokio::sync::mpsc;

use crate::engine::client::Client;
use crate::engine::events::reader::Command;
use crate::engine::events::subscriber::{EventItem, Item, Kinds, QUEUE, Subscriber};

/// The events of one topic, created by [`crate::Topic::subscribe`].
///
/// Continues after lost connections with the events published in the meantime. Ends only with a
/// permanent error: the key of its topic is not a stream. Dropping it is safe.
pub struct EventStream {
    client: Client,
    items: mpsc::Receiver<Item>,
    is_full: Arc<AtomicBool>,
    last: EventId,
}

pub(super) fn new(client: Client, kinds: Kinds, after: EventId) -> (EventStream, Subscriber) {
    let (subscriber, items, is_full) = Subscriber::new(kinds, after);
    (EventStream { client, items, is_full, last: after }, subscriber)
}

impl EventStream {
    /// Waits for the next item; `None` after an error. Cancel safe.
    pub async fn next(&mut self) -> Option<Item> {
        std::future::poll_fn(|cx| self.poll_item(cx)).await
    }

    /// Returns the id of the last event taken, or the start position, for [`crate::Topic::after`].
    #[must_use]
    pub fn last(&self) -> EventId {
        self.last
    }

    /// Wakes the reader: a subscriber has room again, or was dropped.
    fn wake(client: &Client) {
        let _ = client.inner.events.reader.send(Command::Wake);
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let item = std::task::ready!(self.items.poll_recv(cx));
        if let Some(Ok(EventItem::Event(event))) = &item {
            self.last = event.id;
        }
        // Wakes the reader only when there is room for many events, so that a read is worthwhile.
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
