//! The calls that the log hands over to the late check.

use tokio::time::Instant;

/// A call whose caller has received its answer.
pub(crate) struct Finished {
    pub(super) job: String,
    /// The number of its operation.
    pub(super) op: u64,
    /// Its response key.
    pub(super) key: String,
    /// When it finished.
    pub(super) at: Instant,
}

impl Finished {
    pub(crate) fn now(job: String, op: u64, key: String) -> Self {
        Self { job, op, key, at: Instant::now() }
    }
}
