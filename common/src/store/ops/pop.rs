//! Waiting for a request on one queue: a blocked pop and the lease behind it, in one write.
//!
//! `BLMOVE` to the worker's inbox keeps the element safe in Redis; the call of a turn's script that
//! follows it in the same write runs as soon as the pop is served, without another round trip,
//! so that what a blocked pop takes passes the same checks as what a busy worker takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};
use tokio::sync::watch;
use tokio::time::timeout;

use super::cycle::{Cycle, CycleReply, Rule, WorkerKeys, first_reply, reply};
use crate::store::connection::{Connector, Peer, hedged};
use crate::store::error::StoreError;
use crate::store::link::Link;
use crate::store::script::{self, CYCLE, PLAIN};

/// How much later than the blocking command's own time the connection counts as dead. A server
/// may answer seconds late (go-redis issue 647).
pub(super) const GRACE: Duration = Duration::from_secs(3);
/// How long connecting may take, above the connect timeout's default of 5 s.
pub(super) const OPEN_WITHIN: Duration = Duration::from_secs(8);

/// One queue's own blocking connection.
#[derive(Debug)]
pub struct BlockingPop {
    connector: Connector,
    keys: Arc<WorkerKeys>,
    conn: Option<(MultiplexedConnection, Peer)>,
    unblocker: Unblocker,
    /// Of other connections, since this one was made.
    losses: watch::Receiver<u64>,
}

/// Names a [`BlockingPop`]'s connection, to end its pop from elsewhere: [`Link::unblock`].
#[derive(Debug, Clone, Default)]
pub struct Unblocker(Arc<AtomicI64>);

impl Unblocker {
    /// The connection that it names from now on.
    pub(super) fn set(&self, id: i64) {
        self.0.store(id, Ordering::Release);
    }
}

impl BlockingPop {
    /// Connects at the first use.
    #[must_use]
    pub fn new(connector: Connector, keys: Arc<WorkerKeys>) -> Self {
        let losses = connector.losses();
        Self { connector, keys, conn: None, unblocker: Unblocker::default(), losses }
    }

    /// What [`Link::unblock`] takes to end a pop of this connection.
    #[must_use]
    pub fn unblocker(&self) -> Unblocker {
        self.unblocker.clone()
    }

    /// Waits up to `block` for a request and leases it. The reply's `leased` is empty when none
    /// came. One of the limited names of `rules` is sorted, and one whose turn it is leased. `more`
    /// is [`Cycle::more`].
    ///
    /// Dropping the future closes the connection; an element that was on its way then lies in
    /// the inbox, which the next [`Cycle`] of this worker reads first.
    ///
    /// # Errors
    ///
    /// After any error the same holds; [`BlockingPop::renew`] makes sure that nothing more comes
    /// from the old connection.
    pub async fn next(
        &mut self,
        block: Duration,
        rules: &[Rule],
        more: bool,
    ) -> Result<CycleReply, StoreError> {
        if self.conn.is_none() || self.losses.has_changed().unwrap_or(true) {
            self.renew().await?;
        }
        let Some((mut conn, peer)) = self.conn.take() else { return Err(self.silent()) };
        let keys = self.keys.clone();
        // Where the order counts nothing leaves the queue but by the script: what lies in the inbox
        // of one worker would be overtaken by what another sorts.
        let take = usize::from(keys.queue.service().is_some());
        let lease = Cycle { rules, more, ..Cycle::take(&keys, take) };
        let mut losses = self.losses.clone();
        let reply = tokio::select! {
            reply = timeout(block + GRACE, self.pop(&mut conn, block, &lease)) => {
                reply.map_err(|_| self.silent())??
            }
            // Nobody will write there any more.
            () = self.connector.moved(&peer) => return Err(self.silent()),
            // A connection that blocks cannot be asked whether it stands.
            _ = losses.changed() => return Err(self.silent()),
        };
        self.conn = Some((conn, peer));
        Ok(reply)
    }

    /// Connects anew, and has Redis close the connection before: what it had sent, and Redis has
    /// not seen yet, must not lease anything any more.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached or refuses.
    pub async fn renew(&mut self) -> Result<(), StoreError> {
        self.conn = None;
        self.losses.mark_unchanged();
        // Bounded here: this connection has no response timeout.
        let opening = hedged(|| self.open(), self.connector.connect_timeout());
        self.conn = Some(timeout(OPEN_WITHIN, opening).await.map_err(|_| self.silent())??);
        Ok(())
    }

    async fn open(&self) -> Result<(MultiplexedConnection, Peer), StoreError> {
        let (mut conn, peer) = self.connector.open_blocking().await?;
        let last = self.unblocker.0.load(Ordering::Acquire);
        if last != 0 {
            self.connector.cut(&mut conn, last).await?;
        }
        PLAIN.load(&mut conn).await?;
        CYCLE.load(&mut conn).await?;
        let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut conn).await?;
        self.unblocker.0.store(id, Ordering::Release);
        Ok((conn, peer))
    }

    async fn pop(
        &self,
        conn: &mut MultiplexedConnection,
        block: Duration,
        lease: &Cycle<'_>,
    ) -> Result<CycleReply, StoreError> {
        let (script, call) = lease.call();
        let mut pipe = redis::pipe();
        pipe.ignore_errors().cmd("BLMOVE").arg(&self.keys.list);
        match self.keys.queue.service().is_some() {
            // It moves nothing, and waits nevertheless.
            true => pipe.arg(&self.keys.list).arg("LEFT").arg("LEFT"),
            false => pipe.arg(&self.keys.inbox).arg("LEFT").arg("RIGHT"),
        };
        pipe.arg(block.as_secs_f64()).add_command(call.clone());
        let values: Vec<RedisResult<Value>> = pipe.query_async(conn).await?;
        let mut values = values.into_iter();
        let (Some(popped), Some(leased)) = (values.next(), values.next()) else {
            return Err(StoreError::Unexpected("BLMOVE"));
        };
        let leased = match leased {
            Err(error) if script::is_no_script(&error) => script.run(conn, &call).await?,
            other => other?,
        };
        let leased = match first_reply(script, leased, 0)? {
            Some(leased) => leased,
            None => reply(CYCLE.run(conn, &lease.full_call()).await?, 0)?,
        };
        // What has been leased counts, whatever the pop said.
        match popped {
            Err(error) if leased.leased.is_empty() => Err(error.into()),
            _ => Ok(leased),
        }
    }

    fn silent(&self) -> StoreError {
        self.connector.unreachable(None)
    }
}

impl Link {
    /// Closes the connection that `unblocker` names: what it has sent and Redis has not yet
    /// carried out is not carried out.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn cut(&self, unblocker: &Unblocker, within: Duration) -> Result<(), StoreError> {
        let id = unblocker.0.load(Ordering::Acquire);
        if id == 0 {
            return Ok(()); // it has never been open
        }
        let (mut conn, generation) = self.connection(within).await?;
        self.note(generation, self.connector().cut(&mut conn, id).await)
    }

    /// Ends the pop that `unblocker` names as if its time were over, if it blocks.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn unblock(&self, unblocker: &Unblocker, within: Duration) -> Result<(), StoreError> {
        let id = unblocker.0.load(Ordering::Acquire);
        let call = redis::cmd("CLIENT").arg("UNBLOCK").arg(id).to_owned();
        self.with(within, async |conn| call.exec_async(conn).await).await
    }
}
