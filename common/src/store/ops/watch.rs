//! Waiting for events of any number of topics, on one connection that blocks.
//!
//! The blocked read only says where something is: what is read, and how much was let go before,
//! is the same for every way to come to it, in one script (`events.rs`).

use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::time::timeout;

use super::events::{Look, look_over};
use super::pop::{GRACE, OPEN_WITHIN, Unblocker};
use crate::event::EventId;
use crate::store::connection::{Connector, Peer, hedged};
use crate::store::error::StoreError;
use crate::store::script::EVENTS;

/// A connection that waits for events. Connects at the first use.
#[derive(Debug)]
pub struct EventWatch {
    connector: Connector,
    conn: Option<(MultiplexedConnection, Peer)>,
    unblocker: Unblocker,
    /// Of other connections, since this one was made.
    losses: watch::Receiver<u64>,
}

impl EventWatch {
    /// Connects at the first use.
    #[must_use]
    pub fn new(connector: Connector) -> Self {
        let losses = connector.losses();
        Self { connector, conn: None, unblocker: Unblocker::default(), losses }
    }

    /// What [`crate::store::Link::unblock`] takes to end a wait.
    #[must_use]
    pub fn unblocker(&self) -> Unblocker {
        self.unblocker.clone()
    }

    /// Whether the next call goes over the same connection as the last one.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.conn.is_some() && !self.is_lost()
    }

    /// Closes the connection; the next call opens another.
    pub fn close(&mut self) {
        self.conn = None;
    }

    /// Looks at the stream `key` beyond `from`. Dropping the future closes the connection.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached or refuses.
    pub async fn look(
        &mut self,
        key: &str,
        from: EventId,
        most: usize,
    ) -> Result<Look, StoreError> {
        let (mut conn, peer) = self.take().await?;
        let within = self.connector.response_timeout();
        let looked = timeout(within, look_over(&mut conn, key, from, most)).await;
        let looked = looked.map_err(|_| self.connector.unreachable(None))?;
        // After a refusal the connection is as good as before.
        if !matches!(looked, Err(ref error) if error.is_transient()) {
            self.conn = Some((conn, peer));
        }
        looked
    }

    /// Waits up to `block` for anything beyond the positions of these streams; the keys of those
    /// that have something. Dropping the future closes the connection.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached or refuses.
    pub async fn wait(
        &mut self,
        streams: &[(String, EventId)],
        block: Duration,
    ) -> Result<Vec<String>, StoreError> {
        let (mut conn, peer) = self.take().await?;
        let mut call = redis::cmd("XREAD");
        call.arg("COUNT").arg(1).arg("BLOCK").arg(block.as_millis().max(1) as u64).arg("STREAMS");
        for (key, _) in streams {
            call.arg(key);
        }
        for (_, from) in streams {
            call.arg(from.to_string());
        }
        let mut losses = self.losses.clone();
        let reading = call.query_async::<Option<Vec<(String, Value)>>>(&mut conn);
        let found = tokio::select! {
            found = timeout(block + GRACE, reading) => {
                found.map_err(|_| self.connector.unreachable(None))??
            }
            () = self.connector.moved(&peer) => return Err(self.connector.unreachable(None)),
            // A connection that blocks cannot be asked whether it stands.
            _ = losses.changed() => return Err(self.connector.unreachable(None)),
        };
        self.conn = Some((conn, peer));
        Ok(found.unwrap_or_default().into_iter().map(|(key, _)| key).collect())
    }

    /// Whether another connection was lost since this one was made: it may be, too.
    fn is_lost(&self) -> bool {
        self.losses.has_changed().unwrap_or(true)
    }

    /// The connection, taken out: who is dropped while using it leaves none behind.
    async fn take(&mut self) -> Result<(MultiplexedConnection, Peer), StoreError> {
        let is_lost = self.is_lost();
        if let Some(conn) = self.conn.take().filter(|_| !is_lost) {
            return Ok(conn);
        }
        self.losses.mark_unchanged();
        // Bounded here: this connection has no response timeout.
        let opening = hedged(|| self.open(), self.connector.connect_timeout());
        let opened = timeout(OPEN_WITHIN, opening).await;
        opened.map_err(|_| self.connector.unreachable(None))?
    }

    async fn open(&self) -> Result<(MultiplexedConnection, Peer), StoreError> {
        let (mut conn, peer) = self.connector.open_blocking().await?;
        EVENTS.load(&mut conn).await?;
        let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut conn).await?;
        self.unblocker.set(id);
        Ok((conn, peer))
    }
}
