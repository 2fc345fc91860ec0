//! A worker's lane on one queue: requests whose place in a lane inbox is their lease
//! (docs/internals/decisions/0030).
//!
//! | file | holds |
//! |---|---|
//! | `lane/keys.rs` | an inbox, and a poll of it |
//! | `lane/pop.rs` | the blocked pop, with the settlement in front of it and the gate after it |
//! | `lane/settle.rs` | `lane_settle.lua`: settle one request |
//! | `lane/poll.rs` | `lane_poll.lua`: settle, and take others |
//! | `lane/adopt.rs` | `adopt.lua`: empty an inbox, whatever is in it |

use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::delegate::delegate;
use crate::ops::worker::polls::poll::WorkerKeys;

pub(crate) mod adopt;
pub(crate) mod keys;
pub(crate) mod poll;
pub(crate) mod pop;
pub(crate) mod settle;

pub use adopt::{Adopted, Adoption};
pub use keys::{Gate, LaneKeys, LanePoll};
pub use poll::LaneReply;
pub use pop::{LanePop, LanePopped, LaneWrite, Moved};

/// The time after the end of a worker's lease for which heartbeats search for late pops of it:
/// longer than a pop blocks. `heartbeat.lua` has the same.
const LATE_POP: Duration = Duration::from_secs(60);
/// The TTL of the registry of lanes.
const REGISTRY: Duration = Duration::from_secs(30 * 86_400);

/// The operations of a worker's lane.
pub trait LaneOps {
    /// Enters a worker into the queue's registry of lanes, before its first pop into a lane inbox.
    /// `lease` is its lease. Heartbeats renew the entry.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses. No pop may follow then.
    fn open_lane(
        &self,
        keys: &WorkerKeys,
        lease: Duration,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the number of requests in a lane inbox.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn young(
        &self,
        keys: &LaneKeys,
        timeout: Duration,
    ) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Settles a lane inbox, and fills it again.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may have been done: the inbox has to be adopted, `again` with
    /// the same serial. The same after an error of Redis.
    fn lane_poll(
        &self,
        poll: &LanePoll<'_>,
        timeout: Duration,
    ) -> impl Future<Output = Result<LaneReply, StoreError>> + Send;

    /// Empties a lane inbox.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may have been done: sent `again` with the same serial it
    /// returns the same results, and the worker has to read its leases ([`crate::PollOps::held`]).
    /// After an error of Redis nothing has changed.
    fn adopt(
        &self,
        adoption: &Adoption<'_>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Adopted, StoreError>> + Send;
}

impl LaneOps for Connection {
    delegate! {
        fn open_lane(
            &self, keys: &WorkerKeys, lease: Duration, timeout: Duration
        ) -> Result<(), StoreError>;
        fn young(&self, keys: &LaneKeys, timeout: Duration) -> Result<usize, StoreError>;
        fn lane_poll(
            &self, poll: &LanePoll<'_>, timeout: Duration
        ) -> Result<LaneReply, StoreError>;
        fn adopt(
            &self, adoption: &Adoption<'_>, timeout: Duration
        ) -> Result<Adopted, StoreError>;
    }
}

impl Connection {
    pub(crate) async fn open_lane(
        &self,
        keys: &WorkerKeys,
        lease: Duration,
        timeout: Duration,
    ) -> Result<(), StoreError> {
        let lanes = keys.queue.lanes();
        let until = u128::from(self.now_ms()) + (lease + LATE_POP).as_millis();
        let mut pipe = redis::pipe();
        pipe.cmd("ZADD").arg(&lanes).arg(until.to_string()).arg(&keys.worker).ignore();
        pipe.cmd("PEXPIRE").arg(&lanes).arg(REGISTRY.as_millis().to_string()).ignore();
        self.with(timeout, async |conn| pipe.exec_async(conn).await).await
    }

    pub(crate) async fn young(
        &self,
        keys: &LaneKeys,
        timeout: Duration,
    ) -> Result<usize, StoreError> {
        let length = redis::cmd("LLEN").arg(&keys.inbox).to_owned();
        self.with(timeout, async |conn| length.query_async(conn).await).await
    }
}
