//! A group that shares the events of a topic: each event goes to one of its members.

use std::time::Duration;

use futures_util::FutureExt;
use redcall_common::event::{Event, EventId};
use redcall_common::name::{is_id, new_id};
use redcall_store::{Member, StoreError};
use tokio::time::timeout;

use super::stream::{EventStream, Kinds};
use super::{EventError, From, Topic, named};
use crate::client::Client;

/// How long an event may be in work before another member gets it, if nobody says otherwise.
const CLAIM_AFTER: Duration = Duration::from_secs(30);
/// How long a member waits at most before it looks again, also for what others left.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What a member of a group is given.
#[derive(Debug, Clone)]
pub enum GroupItem {
    /// An event, to be done and then acknowledged: [`GroupMember::ack`].
    Event {
        /// The event.
        event: Event,
        /// Whether a member had it before and did not acknowledge it in time.
        again: bool,
    },
    /// Events were let go before the group came to them: so many, or `None` where that is not
    /// known.
    Missed(Option<u64>),
}

/// One member of a group. Made by [`Topic::group`].
///
/// Each event of the topic goes to one member, and to another one if it is not acknowledged in
/// time: at least once. Dropping the member is harmless; what it had in work goes to others.
pub struct GroupMember {
    client: Client,
    member: Member,
    kinds: Kinds,
    /// Brings what is published: only that something is.
    wakeups: EventStream,
    ready: Option<GroupItem>,
}

impl Topic {
    /// Joins `group` (a name of 1 to 64 of `[A-Za-z0-9_-]`): its members share the topic's events.
    /// A group that is not there yet begins where this says. Events of other kinds than those
    /// that are wanted are acknowledged unseen, so all members should want the same.
    ///
    /// # Errors
    ///
    /// [`EventError::Topic`], [`EventError::Group`], or that of Redis. Dropping the future is
    /// harmless.
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
        // The group is there from now on, or begins with the topic.
        let member = Member { from: Some(EventId::default()), ..member };
        Ok(GroupMember { client, member, kinds, wakeups, ready: None })
    }
}

impl GroupMember {
    /// Another time than 30 s after which an event that is not acknowledged goes to another
    /// member.
    #[must_use]
    pub fn claim_after(mut self, time: Duration) -> Self {
        self.member.claim_after = time;
        self
    }

    /// The next item; waits for one. Not cancel safe: an event that is given to a dropped future
    /// comes again, to any member, when its time is over.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `redis.response_timeout` or refuses; calling again goes
    /// on.
    pub async fn next(&mut self) -> Result<GroupItem, StoreError> {
        loop {
            // Before the look: what comes from now on wakes it.
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

    /// Says that `event` is done; whether it was still to be done. If not, another member has had
    /// it as well.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached or refuses; the event then comes again.
    pub async fn ack(&self, event: &Event) -> Result<bool, StoreError> {
        let inner = &self.client.inner;
        inner.link.done(&self.member, event.id, inner.events.timeout).await
    }

    /// What there is for it right now.
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
