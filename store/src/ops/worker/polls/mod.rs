//! Polls: settling what ended, leasing what fits.

use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::delegate::delegate;
use crate::script::Script;

pub(crate) mod held;
pub(crate) mod lane;
pub(crate) mod outcome;
pub(crate) mod poll;
pub(crate) mod poll_fast;
pub(crate) mod pop;
pub(crate) mod probe;
pub(crate) mod round;

pub use lane::{
    Adopted, Adoption, Gate, LaneKeys, LaneOps, LanePoll, LanePop, LanePopped, LaneReply,
    LaneWrite, Moved,
};
pub use outcome::{EndedCall, Outcome, Settlement, SideEffect, StateChange};
pub use poll::{LeaseInfo, Leased, LimitRule, PollReply, QueuePoll, Record, Settled, WorkerKeys};
pub use pop::BlockingPop;

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![
        &poll::POLL,
        &poll_fast::POLL_FAST,
        &probe::PROBE,
        &lane::settle::LANE_SETTLE,
        &lane::poll::LANE_POLL,
        &lane::adopt::ADOPT,
    ]
}

/// Settles ended requests and leases others.
pub trait PollOps {
    /// Returns all requests that a worker has leased on one queue, with their history.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn held(
        &self,
        keys: &WorkerKeys,
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<Leased>, StoreError>> + Send;

    /// Stores the envelope of a probe for the next poll on `keys`.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may be stored; the next probe replaces it.
    fn put_probe(
        &self,
        keys: &WorkerKeys,
        envelope: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Sends one poll to each of several queues, in this order, in one write. Returns one result
    /// each.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] any of the polls may have taken effect: its leases are this
    /// worker's, its outcomes are settled. A poll that is sent `again` under the same serial
    /// returns the same reply. An error among the results: Redis has refused that whole poll.
    fn poll(
        &self,
        polls: &[QueuePoll<'_>],
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<Result<PollReply, StoreError>>, StoreError>> + Send;
}

impl PollOps for Connection {
    delegate! {
        fn held(&self, keys: &WorkerKeys, timeout: Duration) -> Result<Vec<Leased>, StoreError>;
        fn put_probe(
            &self, keys: &WorkerKeys, envelope: &str, timeout: Duration
        ) -> Result<(), StoreError>;
        fn poll(
            &self, polls: &[QueuePoll<'_>], timeout: Duration
        ) -> Result<Vec<Result<PollReply, StoreError>>, StoreError>;
    }
}
