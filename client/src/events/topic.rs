//! Subscriptions to topics: their options.

use std::time::SystemTime;

use redcall_common::event::{EventId, Kind};
use redcall_common::time::unix_ms;
use redcall_store::EventOps as _;

use crate::engine::client::Client;
use crate::engine::events::cursor::Cursor;
use crate::engine::events::reader::Command;
use crate::engine::events::subscriber::Kinds;
use crate::events::error::{EventError, named};
use crate::events::stream::{self, EventStream};

impl Client {
    /// Returns a subscription builder for `topic` (a name, or a number that has a name). By default
    /// the subscription starts with the next event.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use redcall_client::{EventItem, Kind};
    ///
    /// let topic = client.events("device.7").kind(Kind::PROPERTY_CHANGE);
    /// let mut events = topic.subscribe().await?;
    /// client.publish("device.7", Kind::PROPERTY_CHANGE, "speed").await?;
    /// while let Some(item) = events.next().await {
    ///     match item? {
    ///         EventItem::Event(event) => {
    ///             println!("{} {}", event.when, event.context);
    ///             break;
    ///         }
    ///         EventItem::Missed(Some(count)) => println!("missed {count} events"),
    ///         EventItem::Missed(None) => println!("may have missed events"),
    ///     }
    /// }
    /// # Ok(()) });
    /// ```
    pub fn events(&self, topic: &str) -> Topic {
        Topic {
            client: self.clone(),
            topic: topic.to_owned(),
            from: From::Now,
            kinds: Kinds::default(),
        }
    }
}

/// Options of a subscription, created by [`Client::events`].
#[must_use = "no subscription exists until `subscribe` or `group` is called"]
pub struct Topic {
    pub(super) client: Client,
    pub(super) topic: String,
    pub(super) from: From,
    pub(super) kinds: Kinds,
}

/// Start of a subscription.
#[derive(Debug, Clone, Copy)]
pub(super) enum From {
    Now,
    Time(EventId),
    Event(EventId),
}

impl Topic {
    /// Starts with the first event published at `time` or later, by the clock of Redis, if it is
    /// still kept.
    pub fn since(mut self, time: SystemTime) -> Self {
        self.from = From::Time(EventId::before(unix_ms(time)));
        self
    }

    /// Starts after this event, to continue from another stream, also of another process.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use redcall_client::{EventItem, Kind};
    ///
    /// let seen = client.publish("device.7", Kind::EVENT, "first").await?;
    /// client.publish("device.7", Kind::EVENT, "second").await?;
    ///
    /// let mut events = client.events("device.7").after(seen).subscribe().await?;
    /// let Some(Ok(EventItem::Event(event))) = events.next().await else { panic!() };
    /// assert_eq!(event.context.get(), "\"second\"");
    /// assert_eq!(events.last(), event.id);
    /// # Ok(()) });
    /// ```
    pub fn after(mut self, event: EventId) -> Self {
        self.from = From::Event(event);
        self
    }

    /// Selects events of this kind, in addition to earlier ones. [`Kind::ANY`] selects all.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kinds.add(kind);
        self
    }

    /// Subscribes. Every event published after this returns is received or counted as missed.
    ///
    /// # Errors
    ///
    /// [`EventError::Topic`], or an error of Redis, within `redis.response_timeout`. Cancel safe.
    pub async fn subscribe(self) -> Result<EventStream, EventError> {
        let topic = named(&self.topic)?;
        let key = self.client.inner.keys.events(topic);
        let events = &self.client.inner.events;
        let cursor = match self.from {
            From::Time(at) => Cursor::at_time(at),
            From::Event(at) => Cursor::after(at),
            From::Now => {
                let end = self.client.inner.reads.read_topic(&key, None, 0, events.timeout).await?;
                Cursor::at_end(&end)
            }
        };
        let (stream, subscriber) = stream::new(self.client.clone(), self.kinds, cursor.at);
        // The reader lives as long as the client, which the stream holds.
        let _ = events.reader.send(Command::Subscribe { key, cursor, subscriber });
        Ok(stream)
    }
}
