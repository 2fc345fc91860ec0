//! `group.lua`: read and acknowledge the next event for one member of a consumer group.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::client::events::topic::{events, position};
use crate::ops::reply::{StreamEntry, read};
use crate::script::{Reading, script};
use redcall_common::event::{Event, EventId};
use redcall_common::time::millis;

script! {
    /// Give a member of a consumer group its next event.
    GROUP = "client/group", Runs, of Client;
    read |value, _| reply(value).map(Reading::of)
}

/// A member of a group.
#[derive(Debug, Clone)]
pub struct Member {
    /// The topic's stream.
    pub key: String,
    /// The group's name.
    pub group: String,
    /// The member's id.
    pub id: String,
    /// The position at which a new group begins; `None`: after the newest event.
    pub from: Option<EventId>,
    /// The idle time after which an unacknowledged event goes to another member.
    pub claim_after: Duration,
}

/// The reply to a member's read.
#[derive(Debug, Clone, Default)]
pub struct GroupRead {
    /// The number of events that were trimmed before the group read them; `Some(None)`: unknown.
    pub missed: Option<Option<u64>>,
    /// The entry, if there is one; without an event if the entry is not valid.
    pub entry: Option<(EventId, Option<Event>)>,
    /// `true` if another member had it before.
    pub again: bool,
}

impl Connection {
    pub(crate) async fn join(&self, member: &Member, timeout: Duration) -> Result<(), StoreError> {
        let mut call = call(member);
        reply(self.run(&GROUP, call.arg("join"), timeout).await?).map(drop)
    }

    pub(crate) async fn read_group(
        &self,
        member: &Member,
        timeout: Duration,
    ) -> Result<GroupRead, StoreError> {
        let mut call = call(member);
        reply(self.run(&GROUP, call.arg("next"), timeout).await?)
    }

    pub(crate) async fn done(
        &self,
        member: &Member,
        event: EventId,
        timeout: Duration,
    ) -> Result<bool, StoreError> {
        let mut call = redis::cmd("XACK");
        call.arg(&member.key).arg(&member.group).arg(event.to_string());
        let done: u64 = self.with(timeout, async |conn| call.query_async(conn).await).await?;
        Ok(done > 0)
    }
}

fn call(member: &Member) -> redis::Cmd {
    let mut call = GROUP.call(&[&member.key]);
    let from = position(member.from);
    call.arg(&member.group).arg(&member.id).arg(from).arg(millis(member.claim_after));
    // A waiting member reads twice within the idle time after which its events are taken over.
    call.arg(millis(member.claim_after).saturating_mul(10));
    call
}

/// Reads the script's reply.
pub(crate) fn reply(value: Value) -> Result<GroupRead, StoreError> {
    type Raw = (i64, Option<StreamEntry>, i64);
    let (missed, entry, again): Raw = read("group", value)?;
    let mut entries = events(entry.into_iter().collect())?;
    let missed = (missed != 0).then(|| u64::try_from(missed).ok());
    Ok(GroupRead { missed, entry: entries.pop(), again: again == 1 })
}
