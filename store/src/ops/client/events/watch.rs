//! Waits for events of any number of topics, on one blocking connection.
//!
//! The blocked read only shows which topics have events: one script reads them and counts trimmed
//! events for all callers (`events.rs`).

use std::time::Duration;

use futures_util::TryFutureExt as _;
use redis::Value;
use tokio::time::timeout;

use crate::connection::Connector;
use crate::connection::{Blocking, Unblocker, Use};
use crate::error::StoreError;
use crate::ops::client::events::topic::EVENTS;
use crate::ops::client::events::topic::{TopicRead, read_over};
use redcall_common::event::EventId;

/// A connection that waits for events. Connects at the first use.
#[derive(Debug)]
pub struct EventWatch {
    blocking: Blocking,
}

/// Reading twice is harmless.
const USE: Use = Use { scripts: &[&EVENTS], cuts: false };

impl EventWatch {
    pub(crate) fn new(connector: Connector) -> Self {
        Self { blocking: Blocking::new(connector, USE) }
    }

    pub(crate) fn unblocker(&self) -> Unblocker {
        self.blocking.unblocker()
    }

    pub(crate) fn stands(&self) -> bool {
        self.blocking.stands()
    }

    pub(crate) fn close(&mut self) {
        self.blocking.close();
    }

    pub(crate) async fn read_topic(
        &mut self,
        key: &str,
        from: EventId,
        max: usize,
    ) -> Result<TopicRead, StoreError> {
        let (mut conn, peer) = self.blocking.take().await?;
        let limit = self.blocking.connector().response_timeout();
        let read = timeout(limit, read_over(&mut conn, key, from, max)).await;
        let read = read.map_err(|_| self.blocking.silent())?;
        // After a refusal the connection is still usable.
        if !matches!(read, Err(ref error) if error.is_transient()) {
            self.blocking.put_back((conn, peer));
        }
        read
    }

    pub(crate) async fn wait(
        &mut self,
        streams: &[(String, EventId)],
        block: Duration,
    ) -> Result<Vec<String>, StoreError> {
        let (mut conn, peer) = self.blocking.take().await?;
        let mut call = redis::cmd("XREAD");
        call.arg("COUNT").arg(1).arg("BLOCK").arg(block.as_millis().max(1) as u64).arg("STREAMS");
        for (key, _) in streams {
            call.arg(key);
        }
        for (_, from) in streams {
            call.arg(from.to_string());
        }
        let reading = call.query_async::<Option<Vec<(String, Value)>>>(&mut conn);
        let reading = reading.map_err(StoreError::of_driver);
        let found = self.blocking.wait(&peer, block, reading).await?;
        self.blocking.put_back((conn, peer));
        Ok(found.unwrap_or_default().into_iter().map(|(key, _)| key).collect())
    }
}
