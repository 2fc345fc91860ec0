//! Consumer groups: each event of a topic goes to one member.

use std::time::Duration;

use futures_util::FutureExt;
use redcall_common::event::{Event, EventId};
use redcall_common::name::{is_id, new_id};
use redcall_store::{EventOps as _, Member, StoreError};
use tokio::time::timeout;

use crate::engine::client::Client;
use crate::engine::events::subscriber::Kinds;
use crate::events::error::{EventError, named};
use crate::events::stream::EventStream;
use crate::events::topic::{From, Topic};

/// Default time after which an unacknowledged event goes to another member.
const CLAIM_AFTER: Duration = Duration::from_secs(30);
/// Maximum wait before the next read, also for events of other members.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// An item for a member of a group.
#[derive(Debug, Clone)]
pub enum GroupItem {
    /// An event to be processed and then acknowledged: [`GroupMember::ack`].
    Event {
        /// The event.
        event: Event,
        /// `true` if a member had it before and did not acknowledge it in time.
        again: bool,
    },
    /// Events were trimmed before the group read them: their number, or `None` if unknown.
    Missed(Option<u64>),
}

/// A member of a consumer group, created by [`Topic::group`].
///
/// Delivery is at least once: each event goes to one member, and to another one if it is not
/// acknowledged in time. Dropping a member is safe; its unacknowledged events go to others.
///
/// ```
/// # redcall_testkit::example::with_client(async |client| {
/// use redcall_client::{GroupItem, Kind};
///
/// let mut member = client.events("orders").group("billing").await?;
/// client.publish("orders", Kind::EVENT, "order 7").await?;
/// match member.next().await? {
///     GroupItem::Event { event, again } => {
///         println!("{} (delivered before: {again})", event.context);
///         member.ack(&event).await?;
///     }
///     GroupItem::Missed(count) => println!("missed {count:?} events"),
/// }
/// # Ok(()) });
/// ```
pub struct GroupMember {
    client: Client,
    member: Member,
    kinds: Kinds,
    /// Wakes the member when an event is published.
    wakeups: EventStream,
    ready: Option<GroupItem>,
}

impl Topic {
    /// Joins consumer group `group` (1 to 64 of `[A-Za-z0-9_-]`), whose members share the events of
    /// the topic. A new group starts at the position of this builder. Events of other kinds are
    /// acknowledged unread, so all members should select the same kinds.
    ///
    /// # Errors
    ///
    /// [`EventError::Topic`], [`EventError::Group`], or an error of Redis. Cancel safe.
    pub async fn group(self, group: &str) -> Result<GroupMember, EventError> {
        if !is_id(group) {
            return Err(EventError::Group(group.to_owned()));
        }
        let key = self.client.inner.keys.events(named(&self.topic)?);
        let from = match self.from {
            From::Now => None,
            From::Time(at) | From::Event(at) => Some(at),
        };
        let (client, kinds) = (self.client.clone(), self.kinds.clone());
        let wakeups = Self { kinds: Kinds::default(), from: From::Now, ..self }.subscribe().await?;
        let claim_after = CLAIM_AFTER;
        let member = Member { key, group: group.to_owned(), id: new_id(), from, claim_after };
        client.inner.link.join(&member, client.inner.events.timeout).await?;
        // If the group is lost from here on, it restarts at the beginning of the topic.
        let member = Member { from: Some(EventId::default()), ..member };
        Ok(GroupMember { client, member, kinds, wakeups, ready: None })
    }
}

impl GroupMember {
    /// Sets the time after which an unacknowledged event goes to another member; by default 30 s.
    #[must_use]
    pub fn claim_after(mut self, time: Duration) -> Self {
        self.member.claim_after = time;
        self
    }

    /// Waits for the next item. Not cancel safe: an event of a dropped future is delivered again,
    /// to any member, after its claim time.
    ///
    /// # Errors
    ///
    /// If Redis refuses or cannot be reached within `redis.response_timeout`. Calling again
    /// continues.
    pub async fn next(&mut self) -> Result<GroupItem, StoreError> {
        loop {
            // Before the read: later events wake the member.
            while self.wakeups.next().now_or_never().is_some_and(|item| item.is_some()) {}
            if let Some(item) = match self.ready.take() {
                Some(item) => Some(item),
                None => self.take().await?,
            } {
                return Ok(item);
            }
            let wait = (self.member.claim_after / 2).min(WAIT_MAX);
            let _ = timeout(wait, self.wakeups.next()).await;
        }
    }

    /// Acknowledges `event`. Returns `false` if another member has it or had it as well.
    ///
    /// # Errors
    ///
    /// If Redis refuses or cannot be reached; the event is then delivered again.
    pub async fn ack(&self, event: &Event) -> Result<bool, StoreError> {
        let inner = &self.client.inner;
        inner.link.done(&self.member, event.id, inner.events.timeout).await
    }

    /// Returns the next item, if there is one now.
    async fn take(&mut self) -> Result<Option<GroupItem>, StoreError> {
        let timeout = self.client.inner.events.timeout;
        loop {
            let share = self.client.inner.link.read_group(&self.member, timeout).await?;
            let event = match share.entry {
                Some((_, Some(event))) if self.kinds.has(event.kind) => Some(event),
                Some((id, _)) => {
                    self.client.inner.link.done(&self.member, id, timeout).await?;
                    if share.missed.is_none() {
                        continue;
                    }
                    None
                }
                None => None,
            };
            let event = event.map(|event| GroupItem::Event { event, again: share.again });
            return Ok(match share.missed {
                Some(count) => {
                    self.ready = event;
                    Some(GroupItem::Missed(count))
                }
                None => event,
            });
        }
    }
}
