//! Waiting for a request on one queue: a blocked pop and the lease behind it, in one write.
//!
//! `BLMOVE` to the worker's inbox keeps the element safe in Redis; the call of a poll's script that
//! follows it in the same write runs as soon as the pop is served, without another round trip,
//! so that what a blocked pop takes passes the same checks as what a busy worker takes.
//!
//! Redis sends no reply to `BLMOVE` (`CLIENT REPLY SKIP`): the element comes with the lease, once
//! it has passed the checks. An element of any size would otherwise come to this process in whole.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use tokio::time::Instant;

use super::blocking::{Blocking, Unblocker, Use};
use super::poll::{PollReply, QueuePoll, Rule, WorkerKeys, reply};
use super::round::first_reply;
use crate::connection::Connector;
use crate::error::StoreError;
use crate::script::{self, POLL, POLL_FAST};

/// For how long pops ask for their replies after one without was refused.
const WITH_REPLIES: Duration = Duration::from_secs(60);

/// What a pop leases must not come to a worker that has given up its connection.
const USE: Use = Use { scripts: &[&POLL_FAST, &POLL], cuts: true };

/// One queue's own blocking connection.
#[derive(Debug)]
pub struct BlockingPop {
    keys: Arc<WorkerKeys>,
    blocking: Blocking,
    /// Whether the last pop ended before its time and moved nothing: Redis may refuse them, and the
    /// next one asks for the reply.
    early: bool,
    /// Until when each pop asks for the reply: a pop without one was refused, and not every proxy
    /// or user may leave one out.
    replies_until: Option<Instant>,
}

impl BlockingPop {
    /// Connects at the first use.
    #[must_use]
    pub fn new(connector: Connector, keys: Arc<WorkerKeys>) -> Self {
        Self { keys, blocking: Blocking::new(connector, USE), early: false, replies_until: None }
    }

    /// What [`crate::Link::unblock`] takes to end a pop of this connection.
    #[must_use]
    pub fn unblocker(&self) -> Unblocker {
        self.blocking.unblocker()
    }

    /// Waits up to `block` for a request and leases it. The reply's `leased` is empty when none
    /// came. One of the limited names of `rules` is sorted, and one whose turn it is leased. `more`
    /// is [`QueuePoll::more`].
    ///
    /// Dropping the future closes the connection; an element that was on its way then lies in
    /// the inbox, which the next [`QueuePoll`] of this worker reads first.
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
    ) -> Result<PollReply, StoreError> {
        let (mut conn, peer) = self.blocking.take().await?;
        let keys = self.keys.clone();
        // Where the order counts nothing leaves the queue but by the script: what lies in the inbox
        // of one worker would be overtaken by what another sorts.
        let take = usize::from(keys.queue.service().is_some());
        let lease = QueuePoll { rules, more, ..QueuePoll::take(&keys, take) };
        let began = Instant::now();
        self.replies_until.take_if(|until| *until <= began);
        let skips = self.replies_until.is_none() && !self.early;
        let popping = self.pop(&mut conn, block, &lease, skips);
        let reply = self.blocking.wait(&peer, block, popping).await;
        // The replies behind a refusal do not matter: the caller closes the connection.
        if skips && reply.as_ref().is_err_and(StoreError::is_refused) {
            self.replies_until = Some(began + WITH_REPLIES);
        }
        let reply = reply?;
        self.blocking.put_back((conn, peer));
        let is_open = !reply.paused && !reply.expired && reply.trouble.is_none();
        self.early = is_open && reply.read == 0 && began.elapsed() < block / 2;
        Ok(reply)
    }

    /// Connects anew, and has Redis close the connection before: what it had sent, and Redis has
    /// not seen yet, must not lease anything any more.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached or refuses.
    pub async fn renew(&mut self) -> Result<(), StoreError> {
        self.blocking.renew().await
    }

    async fn pop(
        &self,
        conn: &mut MultiplexedConnection,
        block: Duration,
        lease: &QueuePoll<'_>,
        skips: bool,
    ) -> Result<PollReply, StoreError> {
        let (script, call) = lease.call();
        let mut pipe = redis::pipe();
        if skips {
            pipe.cmd("CLIENT").arg("REPLY").arg("SKIP");
        }
        pipe.cmd("BLMOVE").arg(&self.keys.list);
        match self.keys.queue.service().is_some() {
            // It moves nothing, and waits nevertheless.
            true => pipe.arg(&self.keys.list).arg("LEFT").arg("LEFT"),
            false => pipe.arg(&self.keys.inbox).arg("LEFT").arg("RIGHT"),
        };
        pipe.arg(block.as_secs_f64()).add_command(call.clone());
        let replies = if skips { 1 } else { 2 };
        let mut values = conn.req_packed_commands(&pipe, 0, replies).await?;
        let Some(leased) = values.pop() else { return Err(StoreError::Unexpected("BLMOVE")) };
        let leased = match leased.extract_error() {
            Err(error) if script::is_no_script(&error) => script.run(conn, &call).await?,
            other => other.map_err(|error| script.failed(error))?,
        };
        let leased = match first_reply(script, leased, 0)? {
            Some(leased) => leased,
            None => reply(POLL.run(conn, &lease.full_call()).await?, 0)?,
        };
        // What has been leased counts, whatever the pop said.
        match values.pop().map(Value::extract_error) {
            Some(Err(error)) if leased.leased.is_empty() => Err(error.into()),
            _ => Ok(leased),
        }
    }
}
