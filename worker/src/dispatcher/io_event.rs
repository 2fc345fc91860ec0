//! Messages to the dispatcher from its tasks.

use redcall_store::rights::MissingRight;
use redcall_store::{Heartbeat, Promoted, QueueState, StoreError};

/// Input of the dispatcher from its tasks.
pub(crate) enum IoEvent {
    /// The reply of a heartbeat on one queue.
    Heartbeat { queue: usize, heartbeat: Heartbeat },
    /// Requests of a dead worker were returned to the head of the queue.
    TakenOver { queue: usize, count: usize },
    /// A poll reported that this worker's lease has ended.
    LeaseExpired,
    /// A round over all queues has ended.
    RoundEnded,
    /// The state that control messages named; `None` if Redis could not be queried.
    StateRead { queue: usize, state: Option<QueueState> },
    /// Due requests were moved to the queue; `None` if Redis could not be queried.
    Promoted { queue: usize, promoted: Option<Promoted> },
    /// Missing rights at Redis, or an error.
    Rights(Result<Vec<MissingRight>, StoreError>),
    /// A probe is stored for the next poll, or an error.
    ProbePut(Result<(), StoreError>),
}
