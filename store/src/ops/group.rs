//! `group.lua`: the next event for one member of a group; and acknowledging it.

use std::time::Duration;

use redis::Value;

use super::events::{events, position};
use super::reply::{Entry, read};
use crate::error::StoreError;
use crate::link::Link;
use crate::script::GROUP;
use redcall_common::event::{Event, EventId};
use redcall_common::time::millis;

/// A member of a group.
#[derive(Debug, Clone)]
pub struct Member {
    /// The topic's stream.
    pub key: String,
    /// The group's name.
    pub group: String,
    /// The member's own.
    pub id: String,
    /// Behind what a group begins that is not there yet; `None`: behind the newest event.
    pub from: Option<EventId>,
    /// How long an event may be in work before another member gets it.
    pub claim_after: Duration,
}

/// What a member was given.
#[derive(Debug, Clone, Default)]
pub struct GroupRead {
    /// How many events were let go before the group came to them; `Some(None)`: some may have been.
    pub missed: Option<Option<u64>>,
    /// The entry, if there is one; without an event, if it is none.
    pub entry: Option<(EventId, Option<Event>)>,
    /// Whether another member had it before.
    pub again: bool,
}

impl Link {
    /// Makes the group, if its topic is there and it is not.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn join(&self, member: &Member, within: Duration) -> Result<(), StoreError> {
        let mut call = call(member);
        share(self.run(&GROUP, call.arg("join"), within).await?).map(drop)
    }

    /// The next event of a group.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses. After [`StoreError::Lost`] an
    /// event may be in work with this member; it comes again when its time is over.
    pub async fn read_group(
        &self,
        member: &Member,
        within: Duration,
    ) -> Result<GroupRead, StoreError> {
        let mut call = call(member);
        share(self.run(&GROUP, call.arg("next"), within).await?)
    }

    /// Says that an event is done; whether it was still this group's to do.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn done(
        &self,
        member: &Member,
        event: EventId,
        within: Duration,
    ) -> Result<bool, StoreError> {
        let mut call = redis::cmd("XACK");
        call.arg(&member.key).arg(&member.group).arg(event.to_string());
        let done: u64 = self.with(within, async |conn| call.query_async(conn).await).await?;
        Ok(done > 0)
    }
}

fn call(member: &Member) -> redis::Cmd {
    let mut call = GROUP.call(&[&member.key]);
    let from = position(member.from);
    call.arg(&member.group).arg(&member.id).arg(from).arg(millis(member.claim_after));
    // Who waits for events asks twice in the time after which they are taken over.
    call.arg(millis(member.claim_after).saturating_mul(10));
    call
}

/// Reads the script's answer.
pub(super) fn share(value: Value) -> Result<GroupRead, StoreError> {
    type Raw = (i64, Option<Entry>, i64);
    let (missed, entry, again): Raw = read("group", value)?;
    let mut entries = events(entry.into_iter().collect())?;
    let missed = (missed != 0).then(|| u64::try_from(missed).ok());
    Ok(GroupRead { missed, entry: entries.pop(), again: again == 1 })
}
