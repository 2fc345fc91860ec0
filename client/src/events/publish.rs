//! Publishing events on topics.

use redcall_common::depth::deeper_than;
use redcall_common::event::{EMERGENCY, EventId, Kind, NewEvent};
use redcall_store::SharedOps as _;
use serde::Serialize;

use crate::engine::client::Client;
use crate::events::error::{EventError, named};

impl Client {
    /// Publishes an event on `topic` (a name, or a number that has a name) with the current time.
    /// An event whose kind is in `events.emergency` is published on the topic `emergency` first.
    /// Returns the id of its entry in the topic.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use redcall_client::Kind;
    /// use serde_json::json;
    ///
    /// let context = json!({"name": "speed", "value": 3});
    /// let id = client.publish("device.7", Kind::PROPERTY_CHANGE, &context).await?;
    /// println!("published as {id}");
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// [`EventError`], within `redis.response_timeout`. After the future is dropped, the event may
    /// be published or not.
    pub async fn publish<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        kind: Kind,
        context: &T,
    ) -> Result<EventId, EventError> {
        self.publish_event(topic, kind).context(context).send().await
    }

    /// Returns a builder for an event of another system, which happened at its own time.
    pub fn publish_event(&self, topic: &str, kind: Kind) -> EventBuilder {
        EventBuilder {
            client: self.clone(),
            topic: topic.to_owned(),
            kind,
            context: Ok("null".to_owned()),
            when_ms: None,
            index: None,
            is_copied: true,
        }
    }
}

/// An event to be published, created by [`Client::publish_event`].
///
/// ```
/// # redcall_testkit::example::with_client(async |client| {
/// use redcall_client::{EventItem, Kind};
///
/// let mut events = client.events("device.7").subscribe().await?;
/// let event = client.publish_event("device.7", Kind(101)).context("door open");
/// event.when_ms(1_682_467_200_000).index(4_840_447_557_266).send().await?;
///
/// let Some(Ok(EventItem::Event(event))) = events.next().await else { panic!() };
/// assert_eq!((event.when, event.index), (1_682_467_200_000, Some(4_840_447_557_266)));
/// # Ok(()) });
/// ```
#[must_use = "an event is published by `send`"]
pub struct EventBuilder {
    client: Client,
    topic: String,
    kind: Kind,
    context: Result<String, serde_json::Error>,
    when_ms: Option<u64>,
    index: Option<u64>,
    is_copied: bool,
}

impl EventBuilder {
    /// Sets the content; `null` by default. Sending returns the error if it cannot be serialized.
    pub fn context<T: Serialize + ?Sized>(mut self, context: &T) -> Self {
        self.context = serde_json::to_string(context);
        self
    }

    /// Sets when it happened: Unix time, ms. The default is now.
    pub fn when_ms(mut self, when_ms: u64) -> Self {
        self.when_ms = Some(when_ms);
        self
    }

    /// Sets the monotonic clock of the machine on which it happened, ns. The default is this
    /// machine's, now.
    pub fn index(mut self, ns: u64) -> Self {
        self.index = Some(ns);
        self
    }

    /// Publishes no copy on the topic `emergency`, whatever its kind: its publisher has done so.
    pub fn without_copy(mut self) -> Self {
        self.is_copied = false;
        self
    }

    /// Publishes the event. Returns the id of its entry in the topic.
    ///
    /// # Errors
    ///
    /// As [`Client::publish`]. After the future is dropped, the event may be published or not.
    pub async fn send(self) -> Result<EventId, EventError> {
        let Self { client, topic, kind, context, when_ms, index, is_copied } = self;
        let inner = &client.inner;
        let topic = named(&topic)?;
        if kind == Kind::ANY {
            return Err(EventError::Kind);
        }
        let context = context.map_err(EventError::Encode)?;
        let limit = inner.limits.frame;
        if context.len() > limit {
            return Err(EventError::TooLarge { size: context.len(), limit });
        }
        let limit = inner.limits.depth;
        if deeper_than(context.as_bytes(), limit) {
            return Err(EventError::TooDeep { limit });
        }
        let events = &inner.events;
        let now = NewEvent::now(kind, &context);
        let (when, index) = (when_ms.unwrap_or(now.when), index.unwrap_or(now.index));
        let event = NewEvent { when, index, ..now };
        let key = inner.keys.events(topic);
        let emergency = inner.keys.events(EMERGENCY);
        let mut all = Vec::with_capacity(2);
        if is_copied && topic != EMERGENCY && events.settings.emergency.contains(&kind.0) {
            all.push((emergency.as_str(), NewEvent { origin: Some(topic), ..event.clone() }));
        }
        all.push((key.as_str(), event));
        Ok(inner.link.publish(&all, events.kept(), events.timeout).await?)
    }
}
