//! Events: publishing on topics, and subscriptions to them.
//!
//! | file | holds |
//! |---|---|
//! | `group.rs` | consumer groups: each event goes to one member |
//! | `cursor.rs` | the position in a topic, and the count of missed events |
//! | `reader.rs` | the one task that reads for all subscribers, over one connection |
//! | `stream.rs` | [`EventStream`], the events of one subscriber |

mod cursor;
mod group;
mod reader;
mod stream;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redcall_common::depth::deeper_than;
use redcall_common::error::Code;
use redcall_common::event::{self, EMERGENCY, EventId, Kind, NewEvent};
use redcall_common::settings::{EventSettings, Settings};
use redcall_store::{Connection, Connector, StoreError, TopicRetention};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::client::Client;
use crate::error::code_of;
use cursor::Cursor;
use reader::{Command, Reader};
use redcall_common::time::unix_ms;

pub use group::{GroupItem, GroupMember};
use stream::Kinds;
pub use stream::{EventItem, EventStream};

/// Why an event was not published, or a subscription failed.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Invalid topic name. Nothing was published.
    #[error("`{0}` is not a valid topic: expected 1 to 64 of [A-Za-z0-9_.-], and not `any`")]
    Topic(String),
    /// Invalid group name.
    #[error("`{0}` is not a valid group name: expected 1 to 64 of [A-Za-z0-9_-]")]
    Group(String),
    /// Kind 0 (`any`) cannot be published. Nothing was published.
    #[error("`any` is not a valid kind for publishing")]
    Kind,
    /// The context cannot be serialized as JSON. Nothing was published.
    #[error("the context cannot be serialized as JSON")]
    Encode(#[source] serde_json::Error),
    /// The context exceeds `limits.frame`. Nothing was published.
    #[error("the context has {size} bytes, the limit is {most} (limits.frame)")]
    TooLarge {
        /// Size of the context, bytes.
        size: usize,
        /// The limit, bytes.
        most: usize,
    },
    /// The context nests deeper than `limits.depth`. Nothing was published.
    #[error("the context nests deeper than {most} levels (`limits.depth`)")]
    TooDeep {
        /// The limit, levels.
        most: usize,
    },
    /// Redis cannot be reached or refuses. If [`StoreError::may_have_happened`] returns `true`, the
    /// event may be published.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EventError {
    /// Returns the error code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Topic(_) | Self::Group(_) | Self::Kind => Code::InvalidRequest,
            Self::Encode(_) => Code::InvalidData,
            Self::TooLarge { .. } | Self::TooDeep { .. } => Code::TooLarge,
            Self::Store(error) if error.is_out_of_memory() => Code::Overloaded,
            Self::Store(error) => code_of(error),
        }
    }
}

/// The state of a client for events.
pub(crate) struct Events {
    settings: EventSettings,
    /// Ends the reader when the last sender is dropped.
    reader: mpsc::UnboundedSender<Command>,
    timeout: Duration,
}

impl Events {
    /// Spawns the reader, which connects on the first subscription.
    pub(crate) fn new(settings: &Settings, connector: &Connector, link: &Arc<Connection>) -> Self {
        let (reader, commands) = mpsc::unbounded_channel();
        tokio::spawn(Reader::new(connector.clone(), Arc::downgrade(link), commands).run());
        let timeout = settings.redis.response_timeout;
        Self { settings: settings.events.clone(), reader, timeout }
    }
}

impl Events {
    /// Returns how much of a topic is kept.
    pub(crate) fn kept(&self) -> TopicRetention {
        TopicRetention::from(&self.settings)
    }
}

impl Client {
    /// Publishes an event on `topic` (a name, or a number that has a name) with the current time.
    /// An event whose kind is in `events.emergency` is published on the topic `emergency` first.
    /// Returns the id of its entry in the topic.
    ///
    /// ```no_run
    /// # async fn doc(client: redcall_client::Client) -> Result<(), redcall_client::EventError> {
    /// use redcall_client::Kind;
    ///
    /// let context = serde_json::json!({"name": "speed", "value": 3});
    /// client.publish("device.7", Kind::PROPERTY_CHANGE, &context).await?;
    /// # Ok(()) }
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
        let topic = named(topic)?;
        if kind == Kind::ANY {
            return Err(EventError::Kind);
        }
        let context = serde_json::to_string(context).map_err(EventError::Encode)?;
        let most = self.inner.limits.frame;
        if context.len() > most {
            return Err(EventError::TooLarge { size: context.len(), most });
        }
        let most = self.inner.limits.depth;
        if deeper_than(context.as_bytes(), most) {
            return Err(EventError::TooDeep { most });
        }
        let events = &self.inner.events;
        let event = NewEvent::now(kind, &context);
        let key = self.inner.keys.events(topic);
        let emergency = self.inner.keys.events(EMERGENCY);
        let mut all = Vec::with_capacity(2);
        if topic != EMERGENCY && events.settings.emergency.contains(&kind.0) {
            all.push((emergency.as_str(), NewEvent { origin: Some(topic), ..event.clone() }));
        }
        all.push((key.as_str(), event));
        Ok(self.inner.link.publish(&all, events.kept(), events.timeout).await?)
    }

    /// Returns a subscription builder for `topic` (a name, or a number that has a name). By default
    /// the subscription starts with the next event.
    ///
    /// ```no_run
    /// # async fn doc(client: redcall_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use redcall_client::{EventItem, Kind};
    ///
    /// let mut events = client.events("device.7").kind(Kind::PROPERTY_CHANGE).subscribe().await?;
    /// while let Some(item) = events.next().await {
    ///     match item? {
    ///         EventItem::Event(event) => println!("{} {}", event.when, event.context),
    ///         EventItem::Missed(Some(count)) => println!("missed {count} events"),
    ///         EventItem::Missed(None) => println!("may have missed events"),
    ///     }
    /// }
    /// # Ok(()) }
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
    client: Client,
    topic: String,
    from: From,
    kinds: Kinds,
}

/// Start of a subscription.
#[derive(Debug, Clone, Copy)]
enum From {
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
                let look =
                    self.client.inner.reads.read_topic(&key, None, 0, events.timeout).await?;
                Cursor::at_end(&look)
            }
        };
        let (stream, subscriber) = stream::new(self.client.clone(), self.kinds, cursor.at);
        // The reader lives as long as the client, which the stream holds.
        let _ = events.reader.send(Command::Subscribe { key, cursor, subscriber });
        Ok(stream)
    }
}

impl EventStream {
    /// Wakes the reader: a subscriber has room again, or was dropped.
    fn wake(client: &Client) {
        let _ = client.inner.events.reader.send(Command::Wake);
    }
}

fn named(topic: &str) -> Result<&str, EventError> {
    event::topic(topic).ok_or_else(|| EventError::Topic(topic.to_owned()))
}
