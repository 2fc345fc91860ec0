//! The write of an idle lane: settle an inbox, pop into it, and read the gate.
//!
//! Redis holds the commands after `BLMOVE` back while it blocks, and runs them as soon as it is
//! served. The gate therefore reports on the queue, and about the worker's registration, after the
//! pop.

use std::time::Duration;

use redis::aio::ConnectionLike as _;
use redis::{Cmd, Value, from_redis_value};

use crate::connection::{Blocking, Connector, Unblocker, Use};
use crate::driver::OrStore;
use crate::error::StoreError;
use crate::ops::worker::polls::lane::adopt::{self, ADOPT, Adopted, Adoption};
use crate::ops::worker::polls::lane::keys::{Gate, LaneKeys, LanePoll};
use crate::ops::worker::polls::lane::poll::{LANE_POLL, LaneReply};
use crate::ops::worker::polls::lane::settle::LANE_SETTLE;
use crate::ops::worker::polls::poll::Settled;
use crate::script::Script;

/// Redis must not move anything for a connection that the worker has given up.
const USE: Use = Use { scripts: &[&LANE_SETTLE, &LANE_POLL, &ADOPT], cuts: true };

/// A lane's own connection.
#[derive(Debug)]
pub struct LanePop {
    blocking: Blocking,
}

/// The result of a lane's pop.
#[derive(Debug)]
pub struct LanePopped {
    /// The results of the settlement in front of it, one per outcome. After [`Settled::Failed`] the
    /// popped request is in the same inbox as those that were not settled: it must not start, and
    /// the inbox has to be adopted.
    pub settled: Vec<Settled>,
    /// The request that is in the inbox now, if one came. It has not been checked.
    pub popped: Option<Vec<u8>>,
    /// `true` if the queue is paused or has more than plain requests.
    pub special: bool,
    /// When the worker's own lease ends, Redis time in ms; `None` if it is not registered.
    pub lease_ends_ms: Option<u64>,
    /// Length of the queue after the pop.
    pub length: usize,
}

impl LanePopped {
    /// Returns whether the popped request may start. `now_ms` is Redis time.
    #[must_use]
    pub fn gate(&self, now_ms: u64) -> Gate {
        match self.lease_ends_ms {
            Some(ends) if ends > now_ms && self.special => Gate::Closed,
            Some(ends) if ends > now_ms => Gate::Open,
            _ => Gate::Expired,
        }
    }
}

impl LanePop {
    /// Connects at the first use.
    #[must_use]
    pub fn new(connector: Connector) -> Self {
        Self { blocking: Blocking::new(connector, USE) }
    }

    /// Returns the handle with which [`crate::Session::unblock`] ends its wait.
    #[must_use]
    pub fn unblocker(&self) -> Unblocker {
        self.blocking.unblocker()
    }

    /// Settles an inbox, if there are outcomes, then waits up to `block` for a request and moves it
    /// there. Dropping the future closes the connection.
    ///
    /// # Errors
    ///
    /// After any error both inboxes have to be adopted, after [`LanePop::renew`]: the settlement
    /// may have been made, and a request may have come.
    pub async fn next(
        &mut self,
        settlement: &LanePoll<'_>,
        block: Duration,
    ) -> Result<LanePopped, StoreError> {
        let (mut conn, peer) = self.blocking.take().await?;
        let settles = match settlement.outcomes {
            [] => None,
            _ => Some(LanePoll { take: 0, ..*settlement }),
        };
        let waiting = async {
            let (mut pipe, keys) = (redis::pipe(), settlement.keys);
            let call = settles.as_ref().map(LanePoll::call).transpose()?;
            let script = call.map(|(script, call)| {
                pipe.add_command(call);
                script
            });
            add_pop(&mut pipe, keys, block);
            let count = pipe.len();
            let mut values = conn.req_packed_commands(&pipe, 0, count).await.or_store()?;
            let pop = values.split_off(usize::from(script.is_some()));
            let settled = match (script, settles.as_ref(), values.pop()) {
                (Some(script), Some(poll), Some(value)) => {
                    let value = value.extract_error().map_err(|error| script.failed(error))?;
                    poll.read(script, value)?
                }
                _ => LaneReply::default(),
            };
            popped(settled.settled, pop)
        };
        let popped = self.blocking.wait(&peer, block, waiting).await?;
        self.blocking.put_back((conn, peer));
        Ok(popped)
    }

    /// Settles an inbox, and fills it again, as [`LaneOps::lane_poll`](crate::LaneOps), on this
    /// connection: after its earlier commands. Dropping the future closes the connection.
    ///
    /// # Errors
    ///
    /// After any error both inboxes have to be adopted, after [`LanePop::renew`].
    pub async fn poll(&mut self, poll: &LanePoll<'_>) -> Result<LaneReply, StoreError> {
        let (script, call) = poll.call()?;
        let value = self.run(script, &call).await?;
        poll.read(script, value)
    }

    /// Empties an inbox, as [`LaneOps::adopt`](crate::LaneOps), on this connection. An inbox with
    /// more elements than one call moves keeps the rest.
    ///
    /// # Errors
    ///
    /// As [`LaneOps::adopt`](crate::LaneOps).
    pub async fn adopt(&mut self, adoption: &Adoption<'_>) -> Result<Adopted, StoreError> {
        let value = self.run(&ADOPT, &adoption.call()?).await?;
        let expected = adoption.keys.answers(adoption.serial);
        Ok(adopt::reply(value, Some(&expected), adoption.outcomes.len())?.0)
    }

    async fn run(&mut self, script: &Script, call: &Cmd) -> Result<Value, StoreError> {
        let (mut conn, peer) = self.blocking.take().await?;
        let running = script.run(&mut conn, call);
        let value = self.blocking.wait(&peer, Duration::ZERO, running).await;
        // An error of Redis does no harm to the connection.
        if value.as_ref().err().is_none_or(|error| !error.may_have_happened()) {
            self.blocking.put_back((conn, peer));
        }
        value
    }

    /// Reconnects, and closes the previous connection at Redis.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses.
    pub async fn renew(&mut self) -> Result<(), StoreError> {
        self.blocking.renew().await
    }
}

/// Adds the pop and the gate after it.
fn add_pop(pipe: &mut redis::Pipeline, keys: &LaneKeys, block: Duration) {
    let queue = &keys.own.queue;
    pipe.cmd("BLMOVE").arg(&keys.own.list).arg(&keys.inbox).arg("LEFT").arg("RIGHT");
    pipe.arg(block.as_secs_f64());
    pipe.cmd("EXISTS").arg(queue.paused()).arg(queue.attempts()).arg(queue.cancelled());
    pipe.arg(queue.permits()).arg(queue.limited_names()).arg(queue.parked_names());
    pipe.cmd("ZSCORE").arg(queue.workers()).arg(&keys.own.worker);
    pipe.cmd("LLEN").arg(queue.queue());
}

/// Reads the replies to them.
fn popped(settled: Vec<Settled>, values: Vec<Value>) -> Result<LanePopped, StoreError> {
    let values: Result<Vec<Value>, _> = values.into_iter().map(Value::extract_error).collect();
    let values = Value::Array(values.or_store()?);
    let unexpected = |_| StoreError::Unexpected("BLMOVE");
    type Raw = (Option<Vec<u8>>, u64, Option<f64>, u64);
    let (popped, special, ends, length): Raw = from_redis_value(values).map_err(unexpected)?;
    Ok(LanePopped {
        settled,
        popped,
        special: special > 0,
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time in ms")]
        lease_ends_ms: ends.map(|ends| ends as u64),
        length: usize::try_from(length).unwrap_or(usize::MAX),
    })
}
