//! Waits for a request on one queue: a blocked pop and its lease, in one write.
//!
//! `BLMOVE` to the worker's inbox keeps the element safe in Redis. The poll script in the same
//! write runs as soon as the pop is served, without another round trip, so that a blocked pop's
//! element passes the same checks as a busy worker's.
//!
//! Redis sends no reply to `BLMOVE` (`CLIENT REPLY SKIP`): the element comes with the lease, after
//! the checks. Otherwise this process would receive elements of any size. Where Redis refuses that,
//! polls at short intervals take the place of blocked pops.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{Cmd, Value};
use tokio::time::{Instant, sleep};

use crate::connection::{Blocking, Connector, Unblocker, Use};
use crate::driver::OrStore;
use crate::error::StoreError;
use crate::ops::worker::polls::poll::{LimitRule, POLL, PollReply, QueuePoll, WorkerKeys, reply};
use crate::ops::worker::polls::poll_fast::POLL_FAST;
use crate::ops::worker::polls::round::first_reply;
use crate::script::{self, Script};
use redcall_common::name::new_id;

/// How long polls take the place of blocked pops after Redis refused one without a reply.
const WITHOUT_POPS: Duration = Duration::from_secs(60);
/// The time between two of these polls, and the maximum length of their series: it cannot be
/// unblocked.
const POLL_EVERY: Duration = Duration::from_millis(50);
const POLLS_END_AFTER: Duration = Duration::from_millis(500);
/// How long the pop of an absent key blocks, whose reply only shows whether Redis refuses pops: the
/// shortest time.
const TRIED_FOR: f64 = 0.001;

/// Redis must not lease anything for a connection that the worker has given up.
const USE: Use = Use { scripts: &[&POLL_FAST, &POLL], cuts: true };

/// One queue's own blocking connection.
#[derive(Debug)]
pub struct BlockingPop {
    keys: Arc<WorkerKeys>,
    blocking: Blocking,
    /// `true` if the last pop ended early and moved nothing: Redis may refuse pops, and the next
    /// one finds out.
    early: bool,
    /// Until when polls take the place of pops, because one without a reply was refused: some
    /// proxies and users may not suppress replies.
    polls_until: Option<Instant>,
}

impl BlockingPop {
    pub(crate) fn new(connector: Connector, keys: Arc<WorkerKeys>) -> Self {
        Self { keys, blocking: Blocking::new(connector, USE), early: false, polls_until: None }
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
        let began = Instant::now();
        self.polls_until.take_if(|until| *until <= began);
        let (pops, was_early) = (self.polls_until.is_none(), self.early);
        // For ordered queues only the script removes elements: an element in one worker's inbox
        // would be overtaken by elements that another worker partitions.
        let take = usize::from(!pops || keys.queue.service().is_some());
        let lease = QueuePoll { rules, more, ..QueuePoll::take(&keys, take) };
        let waiting = async {
            match pops {
                true => self.pop(&mut conn, block, &lease).await,
                false => poll_for(&mut conn, block.min(POLLS_END_AFTER), &lease).await,
            }
        };
        let reply = self.blocking.wait(&peer, block, waiting).await;
        // The replies after a refusal do not matter: the caller closes the connection.
        if pops && !was_early && reply.as_ref().is_err_and(StoreError::is_refused) {
            self.polls_until = Some(began + WITHOUT_POPS);
        }
        let reply = reply?;
        self.blocking.put_back((conn, peer));
        self.early = pops && has_nothing(&reply) && began.elapsed() < block / 2;
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
    ) -> Result<PollReply, StoreError> {
        if self.early {
            self.try_pop(conn).await?;
        }
        let (script, call) = lease.call();
        let mut pipe = redis::pipe();
        pipe.cmd("CLIENT").arg("REPLY").arg("SKIP");
        pipe.cmd("BLMOVE").arg(&self.keys.list);
        match self.keys.queue.service().is_some() {
            // It moves nothing, but still blocks.
            true => pipe.arg(&self.keys.list).arg("LEFT").arg("LEFT"),
            false => pipe.arg(&self.keys.inbox).arg("LEFT").arg("RIGHT"),
        };
        pipe.arg(block.as_secs_f64()).add_command(call.clone());
        let mut values = conn.req_packed_commands(&pipe, 0, 1).await.or_store()?;
        let Some(leased) = values.pop() else { return Err(StoreError::Unexpected("BLMOVE")) };
        read_lease(conn, lease, (script, &call), leased).await
    }

    /// Pops from a key that nothing can have been pushed to. Returns the error if Redis refuses
    /// that, as it then refuses all pops.
    async fn try_pop(&self, conn: &mut MultiplexedConnection) -> Result<(), StoreError> {
        let absent = self.keys.queue.inbox(&new_id());
        let mut call = redis::cmd("BLMOVE");
        call.arg(&absent).arg(&absent).arg("LEFT").arg("RIGHT").arg(TRIED_FOR);
        call.exec_async(conn).await.or_store()
    }
}

/// Returns `true` if a reply has leased, read and reported nothing.
fn has_nothing(reply: &PollReply) -> bool {
    !reply.paused && !reply.expired && reply.trouble.is_none() && reply.read == 0
}

/// Polls until there is something, for `block` at most.
async fn poll_for(
    conn: &mut MultiplexedConnection,
    block: Duration,
    lease: &QueuePoll<'_>,
) -> Result<PollReply, StoreError> {
    let end = Instant::now() + block;
    loop {
        let (script, call) = lease.call();
        let leased = conn.send_packed_command(&call).await.or_store()?;
        let reply = read_lease(conn, lease, (script, &call), leased).await?;
        if !has_nothing(&reply) || Instant::now() >= end {
            return Ok(reply);
        }
        sleep(POLL_EVERY).await;
    }
}

/// Reads the reply to a lease's first call; makes the others that it may need.
async fn read_lease(
    conn: &mut MultiplexedConnection,
    lease: &QueuePoll<'_>,
    (script, call): (&'static Script, &Cmd),
    leased: Value,
) -> Result<PollReply, StoreError> {
    let leased = match leased.extract_error() {
        Err(error) if script::is_script_unknown(&error) => script.run(conn, call).await?,
        Err(error) => return Err(script.failed_at(conn, call, error).await),
        Ok(leased) => leased,
    };
    let (script, mut reply) = match first_reply(script, leased, 0)? {
        Some(reply) => (script, reply),
        None => (&*POLL, reply(POLL.run(conn, &lease.full_call()).await?, 0)?),
    };
    lease.explain(conn, script, &mut reply).await;
    Ok(reply)
}
