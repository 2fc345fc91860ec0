//! Events: publishing on topics, and who follows them.
//!
//! | file | holds |
//! |---|---|
//! | `group.rs` | a group that shares the events of a topic |
//! | `cursor.rs` | where somebody is in a topic, and what was let go before it was read |
//! | `reader.rs` | the one task that reads for all who follow, over one connection |
//! | `stream.rs` | [`EventStream`]: what one of them gets |

mod cursor;
mod group;
mod reader;
mod stream;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redcall_common::error::Code;
use redcall_common::event::{self, EMERGENCY, EventId, Kind, NewEvent};
use redcall_common::settings::{EventSettings, Settings};
use redcall_store::{Connector, Kept, Link, StoreError};
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

/// Why an event could not be published, or a topic not be followed.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// There can be no such topic. Nothing was published.
    #[error("`{0}` is no topic: a topic has 1 to 64 of [A-Za-z0-9_.-], and is not `any`")]
    Topic(String),
    /// There can be no such group.
    #[error("`{0}` is no group: a group has 1 to 64 of [A-Za-z0-9_-]")]
    Group(String),
    /// Events have kinds from 1 on: 0 stands for all of them. Nothing was published.
    #[error("an event cannot be of kind `any`")]
    Kind,
    /// The context cannot be written as JSON. Nothing was published.
    #[error("the context cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The context is larger than `limits.frame`. Nothing was published.
    #[error("a context of {size} bytes is over the limit of {most} (`limits.frame`)")]
    TooLarge {
        /// Its size, bytes.
        size: usize,
        /// The limit, bytes.
        most: usize,
    },
    /// Redis cannot be reached or refuses. [`StoreError::may_have_happened`] says whether the
    /// event may be published nevertheless.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EventError {
    /// The code of the closed set.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Topic(_) | Self::Group(_) | Self::Kind => Code::InvalidRequest,
            Self::Encode(_) => Code::InvalidData,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::Store(error) if error.is_out_of_memory() => Code::Overloaded,
            Self::Store(error) => code_of(error),
        }
    }
}

/// What a client needs for events.
pub(crate) struct Events {
    settings: EventSettings,
    /// Ends the reader with the last one who holds it.
    reader: mpsc::UnboundedSender<Command>,
    timeout: Duration,
}

impl Events {
    /// Spawns the reader, which connects when somebody follows.
    pub(crate) fn new(settings: &Settings, connector: &Connector, link: &Arc<Link>) -> Self {
        let (reader, commands) = mpsc::unbounded_channel();
        tokio::spawn(Reader::new(connector.clone(), Arc::downgrade(link), commands).run());
        let timeout = settings.redis.response_timeout;
        Self { settings: settings.events.clone(), reader, timeout }
    }
}

impl Events {
    /// How much of a topic is kept.
    pub(crate) fn kept(&self) -> Kept {
        Kept::from(&self.settings)
    }
}

impl Client {
    /// Publishes an event on `topic` (a name, or one of the numbers that have names), with the
    /// time of now. One of the kinds of `events.emergency` goes out on the topic `emergency`
    /// first. Returns its entry in the topic.
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
    /// [`EventError`]; within `redis.response_timeout`. Dropping the future leaves open whether
    /// it is published.
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

    /// Follows `topic` (a name, or one of the numbers that have names): from now on, unless
    /// [`Topic`] is told otherwise.
    ///
    /// ```no_run
    /// # async fn doc(client: redcall_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use redcall_client::{EventItem, Kind};
    ///
    /// let mut events = client.events("device.7").kind(Kind::PROPERTY_CHANGE).subscribe().await?;
    /// while let Some(item) = events.next().await {
    ///     match item? {
    ///         EventItem::Event(event) => println!("{} {}", event.when, event.context),
    ///         EventItem::Missed(Some(count)) => println!("{count} were let go before"),
    ///         EventItem::Missed(None) => println!("some may have been let go before"),
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

/// Which events to follow. Made by [`Client::events`].
#[must_use = "nothing is followed before `follow`"]
pub struct Topic {
    client: Client,
    topic: String,
    from: From,
    kinds: Kinds,
}

/// Where to begin.
#[derive(Debug, Clone, Copy)]
enum From {
    Now,
    Time(EventId),
    Event(EventId),
}

impl Topic {
    /// Begins with what was published at `time` or later, by Redis's clock, as far as it is kept.
    pub fn since(mut self, time: SystemTime) -> Self {
        self.from = From::Time(EventId::before(unix_ms(time)));
        self
    }

    /// Begins behind this event: goes on where another stream ended, also of another process.
    pub fn after(mut self, event: EventId) -> Self {
        self.from = From::Event(event);
        self
    }

    /// Only events of this kind; called again, of this one as well. [`Kind::ANY`] is all of them.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kinds.add(kind);
        self
    }

    /// Begins. Whatever is published after this has returned will be heard, or told as missed.
    ///
    /// # Errors
    ///
    /// [`EventError::Topic`], or that of Redis; within `redis.response_timeout`. Dropping the
    /// future is harmless.
    pub async fn subscribe(self) -> Result<EventStream, EventError> {
        let topic = named(&self.topic)?;
        let key = self.client.inner.keys.events(topic);
        let events = &self.client.inner.events;
        let cursor = match self.from {
            From::Time(at) => Cursor::at_time(at),
            From::Event(at) => Cursor::after(at),
            From::Now => {
                let look = self.client.inner.reads.look(&key, None, 0, events.timeout).await?;
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
    /// Asks the reader to look again at who has room, and who follows no more.
    fn wake(client: &Client) {
        let _ = client.inner.events.reader.send(Command::Wake);
    }
}

fn named(topic: &str) -> Result<&str, EventError> {
    event::topic(topic).ok_or_else(|| EventError::Topic(topic.to_owned()))
}
