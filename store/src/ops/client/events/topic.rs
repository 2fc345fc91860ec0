//! `events.lua`: read a topic.

use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::{StreamEntry, Whole, read};
use crate::script::{Reading, script};
use redcall_common::event::{Event, EventId};
use redcall_common::limits::COMMAND_BYTES;

script! {
    /// Read a topic.
    EVENTS = "client/events", Runs, of Client;
    read |value, _| read_topic(value).map(|read| Reading::list(read.entries))
}

/// The content of a topic beyond a position.
#[derive(Debug, Clone, Default)]
pub struct TopicRead {
    /// The newest entry.
    pub top: EventId,
    /// The number of events ever added.
    pub added: u64,
    /// The number of trimmed events.
    pub gone: u64,
    /// The oldest stored entry.
    pub first: EventId,
    /// The entries beyond the position, oldest first; `None` for an entry that is not a valid
    /// event.
    pub entries: Vec<(EventId, Option<Event>)>,
    /// `true` if there are no entries beyond them.
    pub whole: bool,
}

impl Connection {
    pub(crate) async fn read_topic(
        &self,
        key: &str,
        from: Option<EventId>,
        max: usize,
        timeout: Duration,
    ) -> Result<TopicRead, StoreError> {
        read_topic(self.run(&EVENTS, &call(key, from, max), timeout).await?)
    }
}

fn call(key: &str, from: Option<EventId>, max: usize) -> redis::Cmd {
    let mut call = EVENTS.call(&[key]);
    call.arg(position(from)).arg(max).arg(COMMAND_BYTES);
    call
}

/// Formats a position in a stream for a command; `None`: its end.
pub(crate) fn position(from: Option<EventId>) -> String {
    from.map_or_else(|| "$".to_owned(), |from| from.to_string())
}

/// As [`crate::EventOps::read_topic`], over a connection.
pub(crate) async fn read_over(
    conn: &mut MultiplexedConnection,
    key: &str,
    from: EventId,
    max: usize,
) -> Result<TopicRead, StoreError> {
    read_topic(EVENTS.run(conn, &call(key, Some(from), max)).await?)
}

/// Reads the script's reply.
pub(crate) fn read_topic(value: Value) -> Result<TopicRead, StoreError> {
    type Raw = (String, Whole, Whole, String, Vec<StreamEntry>, i64);
    let (top, added, length, first, entries, whole): Raw = read("events", value)?;
    Ok(TopicRead {
        top: id(&top)?,
        added: added.0,
        gone: added.0.saturating_sub(length.0),
        first: id(&first)?,
        entries: events(entries)?,
        whole: whole == 1,
    })
}

fn id(text: &str) -> Result<EventId, StoreError> {
    text.parse().map_err(|_| StoreError::Unexpected("events"))
}

pub(crate) fn events(
    entries: Vec<StreamEntry>,
) -> Result<Vec<(EventId, Option<Event>)>, StoreError> {
    let read = |(entry, fields): (String, _)| {
        let id = id(&entry)?;
        Ok((id, Event::read(id, fields)))
    };
    entries.into_iter().map(read).collect()
}
