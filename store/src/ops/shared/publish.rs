//! Publishing events with plain commands; and `cut.lua`: trim a topic to its limit in bytes.

use std::time::Duration;

use futures_util::TryFutureExt as _;
use redis::{RedisResult, Value};

use crate::connection::Connection;
use crate::error::{Cause, StoreError};
use crate::ops::reply::{Whole, read};
use crate::script::{Reading, script};
use redcall_common::event::{EventId, NewEvent};
use redcall_common::settings::EventSettings;
use redcall_common::time::millis;

script! {
    /// Trim a stream to its limit in bytes.
    CUT = "shared/cut", Runs, of Client, Worker;
    with BYTES;
    read |value, _| cut(value).map(Reading::of)
}

/// The retention of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicRetention {
    /// The maximum number of events, rounded up to a node of the stream.
    pub max: u64,
    /// The maximum bytes of Redis's memory, exceeded by a 64th on average; 0 for no limit.
    pub max_bytes: u64,
    /// The TTL after the last event.
    pub age: Duration,
}

impl From<&EventSettings> for TopicRetention {
    fn from(settings: &EventSettings) -> Self {
        Self { max: settings.max, max_bytes: settings.max_bytes, age: settings.age }
    }
}

impl Connection {
    pub(crate) async fn publish(
        &self,
        events: &[(&str, NewEvent<'_>)],
        kept: TopicRetention,
        timeout: Duration,
    ) -> Result<EventId, StoreError> {
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for (key, event) in events {
            pipe.cmd("XADD").arg(key).arg("MAXLEN").arg("~").arg(kept.max).arg("*");
            pipe.arg(event.fields());
            let age = millis(kept.age);
            pipe.cmd("PEXPIRE").arg(key).arg(age);
        }
        let (mut conn, generation) = self.connection(timeout).await?;
        let sending = pipe.query_async::<Vec<RedisResult<Value>>>(&mut conn);
        let sent = self.during(generation, sending.map_err(StoreError::of_driver)).await?;
        let published = self.note(generation, published(sent));
        for (key, event) in events {
            if is_due(event.size(), kept.max_bytes) {
                // The event is published even if this fails; the next measurement trims the stream.
                let cut = self.cut_back(key, kept.max_bytes, timeout).await;
                drop(
                    cut.inspect_err(|error| tracing::debug!(%error, key, "did not trim the topic")),
                );
            }
        }
        published
    }

    /// Trims the stream `key` to `max_bytes` of Redis's memory, the oldest entries first.
    async fn cut_back(
        &self,
        key: &str,
        max_bytes: u64,
        timeout: Duration,
    ) -> Result<(), StoreError> {
        let mut call = CUT.call(&[key]);
        call.arg(max_bytes);
        cut(self.run(&CUT, &call, timeout).await?).map(drop)
    }
}

/// Returns `true` if the topic is to be measured after an event of `size` bytes: on average once
/// per 64th of its limit, by a random draw, which needs no state shared between publishers.
fn is_due(size: usize, max_bytes: u64) -> bool {
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    max_bytes > 0 && fastrand::u64(..max_bytes) < size.saturating_mul(64)
}

/// Reads the alternating replies of `XADD` and `PEXPIRE`: the last entry id. If `PEXPIRE` failed,
/// the event is published; the stream's length is still bounded.
fn published(sent: Vec<RedisResult<Value>>) -> Result<EventId, StoreError> {
    let (mut last, mut refused) = (None, None);
    for (at, answer) in sent.into_iter().enumerate() {
        match (at % 2, answer) {
            (0, Ok(id)) => last = Some(read::<String>("XADD", id)?),
            (0, Err(error)) => refused = refused.or(Some(error)),
            (_, Ok(_)) => {}
            (_, Err(error)) => tracing::debug!(%error, "did not set the topic's TTL"),
        }
    }
    match (last, refused) {
        (last, None) => {
            let id = last.and_then(|id| id.parse().ok());
            id.ok_or(StoreError::Unexpected("XADD"))
        }
        (None, Some(error)) => Err(StoreError::of_driver(error)),
        (Some(_), Some(error)) => Err(StoreError::Partly(Cause::of_driver(error))),
    }
}

/// Reads the script's reply: the number of trimmed entries.
fn cut(value: Value) -> Result<u64, StoreError> {
    read::<Whole>("cut", value).map(|trimmed| trimmed.0)
}
