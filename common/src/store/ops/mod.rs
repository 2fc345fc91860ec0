//! The typed calls, one file per script of `lua/`: arguments in, result codes out.

mod cancel;
mod cycle;
mod enqueue;
mod frame;
mod heartbeat;
mod place;
mod pop;
mod queues;
mod release;
mod response;
mod served;

pub use cancel::{Cancellation, Withdrawn};
pub use cycle::{Cycle, CycleReply, Leased, Outcome, Settled, Settlement, WorkerKeys};
pub use enqueue::{Enqueued, Item};
pub use frame::Pushed;
pub use heartbeat::{Beat, Heartbeat};
pub use place::{Idempotency, Placed, Placement};
pub use pop::{BlockingPop, Unblocker};
pub use release::Released;

use redis::Value;

use super::error::StoreError;

/// Reads an answer of a script, or says which script surprised us.
fn read<T: redis::FromRedisValue>(script: &'static str, value: Value) -> Result<T, StoreError> {
    redis::from_redis_value(value).map_err(|_| StoreError::Unexpected(script))
}
