//! Heartbeats, and the work that a worker does for its queues.

use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::deferred::EndedDeferred;
use crate::ops::delegate::delegate;
use crate::ops::worker::polls::poll::LimitRule;
use crate::script::Script;
use redcall_common::keys::QueueKeys;

pub(crate) mod expire;
pub(crate) mod heartbeat;
pub(crate) mod promote;
pub(crate) mod queue_state;
pub(crate) mod release;
pub(crate) mod rotation;
pub(crate) mod tally;
pub(crate) mod tick;
pub(crate) mod times;

pub use heartbeat::{Heartbeat, HeartbeatRequest};
pub use promote::Promoted;
pub use queue_state::QueueState;
pub use release::Released;
pub use rotation::{Fault, LimitFault};
pub use tally::KeptAnswers;
pub use tick::{Tick, Ticked};
pub use times::TimeAhead;

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![
        &heartbeat::HEARTBEAT,
        &release::RELEASE,
        &promote::PROMOTE,
        &expire::EXPIRE,
        &tick::TICK,
        &tally::TALLY,
        &rotation::ROTATION,
        &rotation::ROTATION_SEEN,
        &times::TIMES,
        &times::TIMES_SEEN,
    ]
}

/// One result per queue; `None` if another worker has just measured it.
pub type Tallies = Vec<Result<Option<KeptAnswers>, StoreError>>;

/// Renews a worker's lease, and keeps its queues in order.
pub trait UpkeepOps {
    /// Ends up to a hundred requests that were not settled in time. Returns their number, and those
    /// whose end has to be published. Concurrent calls never end a request twice.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may have been done; a retry is harmless.
    fn expire(
        &self,
        keys: &QueueKeys,
        timeout: Duration,
    ) -> impl Future<Output = Result<(usize, Vec<EndedDeferred>), StoreError>> + Send;

    /// Renews the worker's lease on one queue.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] the lease may have been renewed.
    fn heartbeat(
        &self,
        keys: &QueueKeys,
        beat: &HeartbeatRequest<'_>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Heartbeat, StoreError>> + Send;

    /// Moves due requests to the queue. Concurrent calls never move a request twice.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may have been done; a retry is harmless.
    fn promote(
        &self,
        keys: &QueueKeys,
        timeout: Duration,
    ) -> impl Future<Output = Result<Promoted, StoreError>> + Send;

    /// Returns the pause, and which of `ids` are cancelled. Changes nothing.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn queue_state(
        &self,
        keys: &QueueKeys,
        ids: &[String],
        timeout: Duration,
    ) -> impl Future<Output = Result<QueueState, StoreError>> + Send;

    /// Returns the leased requests of `worker` to the queue. `by_itself` if the worker shuts down;
    /// otherwise its lease must have ended, and each request counts one more crash.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] the requests may be back; a retry is harmless.
    fn release(
        &self,
        keys: &QueueKeys,
        worker: &str,
        by_itself: bool,
        timeout: Duration,
    ) -> impl Future<Output = Result<Released, StoreError>> + Send;

    /// Checks keys of limited names, as `rules` partition them, and repairs the faults: a key in no
    /// list rejoins the rotation. Returns the repaired faults, and those that it cannot repair.
    /// Checks a bounded number of keys; if there are more, each call checks others.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn repair_limits(
        &self,
        keys: &QueueKeys,
        rules: &[LimitRule],
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<LimitFault>, StoreError>> + Send;

    /// Measures the answers that each of these queues keeps, and marks the queues that reach their
    /// limit (bytes; 0 for none). Returns one result each; `None` if another worker has just done
    /// so.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout`. An error among the results: Redis has refused
    /// one.
    fn tally(
        &self,
        queues: &[(QueueKeys, u64)],
        timeout: Duration,
    ) -> impl Future<Output = Result<Tallies, StoreError>> + Send;

    /// Pushes those of `ticks` (earliest first) that were not pushed yet. Skips ticks after Redis's
    /// current time and those for which the queue has no room; `max_length` 0 means no cap. Without
    /// ticks it returns the last one.
    ///
    /// If no last tick is stored, `known_ms` is used, or else the current time: a new schedule has
    /// missed nothing.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] the ticks may have been pushed; a retry is harmless.
    fn tick(
        &self,
        keys: &QueueKeys,
        max_length: u64,
        schedule: &str,
        known_ms: Option<u64>,
        ticks: &[Tick],
        timeout: Duration,
    ) -> impl Future<Output = Result<Ticked, StoreError>> + Send;

    /// Corrects times of a queue that exceed their limits, for a worker with this lease: they were
    /// written while Redis's clock was ahead. Returns the corrected times. Checks a bounded number
    /// of times; if there are more, each call checks others.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn bound_times(
        &self,
        keys: &QueueKeys,
        lease: Duration,
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<TimeAhead>, StoreError>> + Send;
}

impl UpkeepOps for Connection {
    delegate! {
        fn expire(
            &self, keys: &QueueKeys, timeout: Duration
        ) -> Result<(usize, Vec<EndedDeferred>), StoreError>;
        fn heartbeat(
            &self, keys: &QueueKeys, beat: &HeartbeatRequest<'_>, timeout: Duration
        ) -> Result<Heartbeat, StoreError>;
        fn promote(&self, keys: &QueueKeys, timeout: Duration) -> Result<Promoted, StoreError>;
        fn queue_state(
            &self, keys: &QueueKeys, ids: &[String], timeout: Duration
        ) -> Result<QueueState, StoreError>;
        fn release(
            &self, keys: &QueueKeys, worker: &str, by_itself: bool, timeout: Duration
        ) -> Result<Released, StoreError>;
        fn repair_limits(
            &self, keys: &QueueKeys, rules: &[LimitRule], timeout: Duration
        ) -> Result<Vec<LimitFault>, StoreError>;
        fn tally(
            &self, queues: &[(QueueKeys, u64)], timeout: Duration
        ) -> Result<Tallies, StoreError>;
        fn tick(
            &self, keys: &QueueKeys, max_length: u64, schedule: &str, known_ms: Option<u64>,
            ticks: &[Tick], timeout: Duration
        ) -> Result<Ticked, StoreError>;
        fn bound_times(
            &self, keys: &QueueKeys, lease: Duration, timeout: Duration
        ) -> Result<Vec<TimeAhead>, StoreError>;
    }
}
