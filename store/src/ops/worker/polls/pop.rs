//! Waits for a request on one queue: a blocked pop and its lease, in one write.
//!
//! `BLMOVE` to the worker's inbox keeps the element safe in Redis. The poll script in the same
//! write runs as soon as the pop is served, without another round trip, so that a blocked pop's
//! element passes the same checks as a busy worker's.
//!
//! Redis sends no reply to `BLMOVE` (`CLIENT REPLY SKIP`): the element comes with the lease, after
//! the checks. Otherwise this process would receive elements of any size.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use tokio::time::Instant;

use crate::connection::{Blocking, Connector, Unblocker, Use};
use crate::driver::OrStore;
use crate::error::StoreError;
use crate::ops::worker::polls::poll::{LimitRule, POLL, PollReply, QueuePoll, WorkerKeys, reply};
use crate::ops::worker::polls::poll_fast::POLL_FAST;
use crate::ops::worker::polls::round::first_reply;
use crate::script;

/// How long pops request their replies after Redis refused one without.
const WITH_REPLIES: Duration = Duration::from_secs(60);

/// Redis must not lease anything for a connection that the worker has given up.
const USE: Use = Use { scripts: &[&POLL_FAST, &POLL], cuts: true };

/// One queue's own blocking connection.
#[derive(Debug)]
pub struct BlockingPop {
    keys: Arc<WorkerKeys>,
    blocking: Blocking,
    /// `true` if the last pop ended early and moved nothing: Redis may refuse pops, and the next
    /// one requests its reply.
    early: bool,
    /// Until when pops request their replies, because one without was refused: some proxies and
    /// users may not suppress replies.
    replies_until: Option<Instant>,
}

impl BlockingPop {
    pub(crate) fn new(connector: Connector, keys: Arc<WorkerKeys>) -> Self {
        Self { keys, blocking: Blocking::new(connector, USE), early: false, replies_until: None }
    }

    pub(crate) fn unblocker(&self) -> Unblocker {
        self.blocking.unblocker()
    }

    pub(crate) async fn next(
        &mut self,
        block: Duration,
        rules: &[LimitRule],
        more: bool,
    ) -> Result<PollReply, StoreError> {
        let (mut conn, peer) = self.blocking.take().await?;
        let keys = self.keys.clone();
        // For ordered queues only the script removes elements: an element in one worker's inbox
        // would be overtaken by elements that another worker sorts.
        let take = usize::from(keys.queue.service().is_some());
        let lease = QueuePoll { rules, more, ..QueuePoll::take(&keys, take) };
        let began = Instant::now();
        self.replies_until.take_if(|until| *until <= began);
        let skips = self.replies_until.is_none() && !self.early;
        let popping = self.pop(&mut conn, block, &lease, skips);
        let reply = self.blocking.wait(&peer, block, popping).await;
        // The replies after a refusal do not matter: the caller closes the connection.
        if skips && reply.as_ref().is_err_and(StoreError::is_refused) {
            self.replies_until = Some(began + WITH_REPLIES);
        }
        let reply = reply?;
        self.blocking.put_back((conn, peer));
        let is_open = !reply.paused && !reply.expired && reply.trouble.is_none();
        self.early = is_open && reply.read == 0 && began.elapsed() < block / 2;
        Ok(reply)
    }

    pub(crate) async fn renew(&mut self) -> Result<(), StoreError> {
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
            // It moves nothing, but still blocks.
            true => pipe.arg(&self.keys.list).arg("LEFT").arg("LEFT"),
            false => pipe.arg(&self.keys.inbox).arg("LEFT").arg("RIGHT"),
        };
        pipe.arg(block.as_secs_f64()).add_command(call.clone());
        let replies = if skips { 1 } else { 2 };
        let mut values = conn.req_packed_commands(&pipe, 0, replies).await.or_store()?;
        let Some(leased) = values.pop() else { return Err(StoreError::Unexpected("BLMOVE")) };
        let leased = match leased.extract_error() {
            Err(error) if script::is_script_unknown(&error) => script.run(conn, &call).await?,
            other => other.map_err(|error| script.failed(error))?,
        };
        let leased = match first_reply(script, leased, 0)? {
            Some(leased) => leased,
            None => reply(POLL.run(conn, &lease.full_call()).await?, 0)?,
        };
        // A lease counts, regardless of the pop's reply.
        match values.pop().map(Value::extract_error) {
            Some(Err(error)) if leased.leased.is_empty() => Err(StoreError::of_driver(error)),
            _ => Ok(leased),
        }
    }
}
