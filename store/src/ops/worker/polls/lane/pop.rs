//! The write of an idle lane: settle an inbox, pop into it, and read the gate.
//!
//! Redis holds the commands after `BLMOVE` back while it blocks, and runs them as soon as it is
//! served. The gate therefore reports on the queue, and about the worker's registration, after the
//! pop. It is one `EXISTS`: each command of a call costs Redis half a microsecond, and each reply
//! the worker as much.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, Value, from_redis_value};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::connection::{Connector, Direct, Element, GRACE, Peer, Unblocker};
use crate::driver::OrStore;
use crate::error::StoreError;
use crate::ops::worker::polls::lane::adopt::{self, ADOPT, Adopted, Adoption};
use crate::ops::worker::polls::lane::keys::{Gate, LaneKeys, LanePoll};
use crate::ops::worker::polls::lane::poll::{LANE_POLL, LaneReply};
use crate::ops::worker::polls::lane::settle::LANE_SETTLE;
use crate::ops::worker::polls::poll::Settled;
use crate::script::Script;

const SCRIPTS: [&LazyLock<Script>; 3] = [&LANE_SETTLE, &LANE_POLL, &ADOPT];
/// The time limit of a script's reply.
const REPLY: Duration = Duration::from_secs(5);

// The gate is one count of existing keys. Keys are repeated, so that the count tells which exist:
// up to 6 keys of which each makes a queue special, the queue, and the worker's registration.
/// The weight of the queue in the gate.
const WAITS: usize = 7;
/// The weight of the worker's registration.
const REGISTERED: usize = 2 * WAITS;

/// A lane's own connection.
#[derive(Debug)]
pub struct LanePop {
    connector: Connector,
    conn: Option<(Direct, Peer)>,
    unblocker: Unblocker,
    /// Changes when another connection is lost after this one was opened.
    losses: watch::Receiver<u64>,
    /// The last pop as a command, with its inbox and time.
    packed: Option<(u8, Duration, Vec<u8>)>,
}

/// The request that a pop moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// As its caller wrote it. It has not been checked.
    Request(Vec<u8>),
    /// It is over `limits.request`, and was not read: adoption dead-letters it.
    TooLarge,
}

/// The result of a lane's pop.
#[derive(Debug, PartialEq, Eq)]
pub struct LanePopped {
    /// The request that is in the inbox now, if one came.
    pub moved: Option<Moved>,
    /// `true` if the queue is paused or has more than plain requests.
    pub special: bool,
    /// `true` if the worker is registered: no other one has taken its requests over.
    pub registered: bool,
    /// `true` if requests wait in the queue after the pop.
    pub waits: bool,
}

/// The write of an idle lane.
#[derive(Debug)]
pub struct LaneWrite<'a> {
    /// The outcomes to settle first, if there are any; [`LanePoll::take`] is ignored.
    pub settlement: &'a LanePoll<'a>,
    /// How long the pop behind it blocks; `None`: no pop follows.
    pub pop: Option<Duration>,
}

impl LanePopped {
    /// Returns whether the popped request may start. `alive`: the worker's own lease has not ended.
    #[must_use]
    pub fn gate(&self, alive: bool) -> Gate {
        match (self.registered && alive, self.special) {
            (false, _) => Gate::Expired,
            (true, true) => Gate::Closed,
            (true, false) => Gate::Open,
        }
    }

    /// Reads the gate: the weights of the keys that exist.
    fn read(moved: Option<Moved>, weights: usize) -> Self {
        let (registered, rest) = (weights / REGISTERED, weights % REGISTERED);
        let (waits, special) = (rest / WAITS > 0, rest % WAITS > 0);
        Self { moved, special, registered: registered > 0, waits }
    }
}

impl LanePop {
    /// Connects at the first use.
    #[must_use]
    pub fn new(connector: Connector) -> Self {
        let losses = connector.losses();
        Self { connector, conn: None, unblocker: Unblocker::default(), losses, packed: None }
    }

    /// Returns the handle with which [`crate::Session::unblock`] ends its wait.
    #[must_use]
    pub fn unblocker(&self) -> Unblocker {
        self.unblocker.clone()
    }

    /// Returns `true` if the next write goes to the same connection as the last one.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.conn.is_some() && !self.losses.has_changed().unwrap_or(true)
    }

    /// Closes the connection. Redis may still run its commands: [`LanePop::renew`] ends that.
    pub fn close(&mut self) {
        self.conn = None;
    }

    /// Reconnects, and closes the previous connection at Redis.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses.
    pub async fn renew(&mut self) -> Result<(), StoreError> {
        self.conn = None;
        self.losses.mark_unchanged();
        let (direct, peer, id) = self.connector.open_direct(self.unblocker.id(), &SCRIPTS).await?;
        self.unblocker.set(id);
        self.conn = Some((direct, peer));
        Ok(())
    }

    /// Sends a write. Its replies are those of [`LanePop::settled`], if it settles, and
    /// [`LanePop::popped`], if it pops. Connects if needed.
    ///
    /// # Errors
    ///
    /// After an error here, of both others, or if one of their futures is dropped, the settlement
    /// may have been made, and a request may have come: both inboxes have to be adopted, behind the
    /// end of this connection.
    pub async fn write(&mut self, write: &LaneWrite<'_>) -> Result<(), StoreError> {
        if !self.is_connected() {
            self.renew().await?;
        }
        let settles = match write.settlement.outcomes {
            [] => None,
            _ => Some(LanePoll { take: 0, ..*write.settlement }.call()?.1),
        };
        let pop = write.pop.map(|block| self.packed(write.settlement.keys, block));
        self.bounded(Instant::now() + REPLY, async |direct| {
            settles.iter().for_each(|call| direct.add(call));
            pop.iter().for_each(|pop| direct.add_packed(pop));
            direct.write().await
        })
        .await
    }

    /// Returns the results of the settlement in the last write, one per outcome. After
    /// [`Settled::Failed`] the inbox has to be adopted, and a request that is popped behind it must
    /// not start.
    ///
    /// # Errors
    ///
    /// As [`LanePop::write`].
    pub async fn settled(&mut self, settlement: &LanePoll<'_>) -> Result<Vec<Settled>, StoreError> {
        let settlement = LanePoll { take: 0, ..*settlement };
        let script: &Script = match settlement.settle_call() {
            Some(_) => &LANE_SETTLE,
            None => &LANE_POLL,
        };
        let value = self.bounded(Instant::now() + REPLY, Direct::reply).await?;
        let value = value.extract_error().map_err(|error| script.failed(error))?;
        Ok(settlement.read(script, value)?.settled)
    }

    /// Waits for the pop in the last write, which blocks for `block`.
    ///
    /// # Errors
    ///
    /// As [`LanePop::write`].
    pub async fn popped(
        &mut self,
        keys: &LaneKeys,
        block: Duration,
    ) -> Result<LanePopped, StoreError> {
        let max = keys.own.max_request;
        self.bounded(Instant::now() + block + GRACE, async |direct| {
            let moved = match direct.element(max).await? {
                Element::Nil => None,
                Element::Whole(raw) => Some(Moved::Request(raw)),
                Element::TooLarge => Some(Moved::TooLarge),
            };
            let weights: usize = from_redis_value(reply(direct).await?)
                .map_err(|_| StoreError::Unexpected("EXISTS"))?;
            Ok(LanePopped::read(moved, weights))
        })
        .await
    }

    /// Settles an inbox, and fills it again, as [`LaneOps::lane_poll`](crate::LaneOps), on this
    /// connection: after its earlier commands.
    ///
    /// # Errors
    ///
    /// As [`LanePop::write`].
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
        if !self.is_connected() {
            self.renew().await?;
        }
        let value = self
            .bounded(Instant::now() + REPLY, async |direct| {
                direct.add(call);
                direct.write().await?;
                direct.reply().await
            })
            .await?;
        value.extract_error().map_err(|error| script.failed(error))
    }

    /// Uses the connection up to a time. Any error closes it, except an error of Redis in a value.
    async fn bounded<T>(
        &mut self,
        end: Instant,
        using: impl AsyncFnOnce(&mut Direct) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Taken out: a future that is dropped closes it.
        let silent = || self.connector.unreachable(None);
        let (mut direct, peer) = self.conn.take().ok_or_else(silent)?;
        let mut losses = self.losses.clone();
        let used = tokio::select! {
            biased;
            used = timeout_at(end, using(&mut direct)) => used.map_err(|_| silent())?,
            // The old primary receives no more writes.
            () = self.connector.moved(&peer) => Err(silent()),
            // A blocked connection cannot be checked.
            _ = losses.changed() => Err(silent()),
        };
        if used.is_ok() {
            self.conn = Some((direct, peer));
        }
        used
    }

    /// Returns the encoded pop with the gate behind it.
    fn packed(&mut self, keys: &LaneKeys, block: Duration) -> Vec<u8> {
        match &self.packed {
            Some((number, time, packed)) if (*number, *time) == (keys.number, block) => {
                packed.clone()
            }
            _ => {
                let packed = pop_and_gate(keys, block);
                self.packed = Some((keys.number, block, packed.clone()));
                packed
            }
        }
    }
}

async fn reply(direct: &mut Direct) -> Result<Value, StoreError> {
    direct.reply().await?.extract_error().or_store()
}

/// Encodes the pop and the gate after it.
fn pop_and_gate(keys: &LaneKeys, block: Duration) -> Vec<u8> {
    let queue = &keys.own.queue;
    let mut pipe = redis::pipe();
    pipe.cmd("BLMOVE").arg(&keys.own.list).arg(&keys.inbox).arg("LEFT").arg("RIGHT");
    pipe.arg(block.as_secs_f64());
    let special = [
        queue.paused(),
        queue.attempts(),
        queue.cancelled(),
        queue.permits(),
        queue.limited_names(),
        queue.parked_names(),
    ];
    let registration = queue.worker(&keys.own.worker);
    let mut gate: Vec<&str> = special.iter().map(String::as_str).collect();
    gate.extend([keys.own.list.as_str(); WAITS]);
    gate.extend([registration.as_str(); REGISTERED]);
    pipe.cmd("EXISTS").arg(gate);
    pipe.get_packed_pipeline()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gate_tells_the_keys_that_exist() {
        for special in 0..WAITS {
            for (waits, registered) in [(false, false), (false, true), (true, false), (true, true)]
            {
                let weights =
                    special + WAITS * usize::from(waits) + REGISTERED * usize::from(registered);
                let popped = LanePopped::read(None, weights);
                let expected = LanePopped { moved: None, special: special > 0, registered, waits };
                assert_eq!(popped, expected, "{weights}");
                let gate = match (registered, special) {
                    (false, _) => Gate::Expired,
                    (true, 0) => Gate::Open,
                    (true, _) => Gate::Closed,
                };
                assert_eq!((popped.gate(true), popped.gate(false)), (gate, Gate::Expired));
            }
        }
    }
}
