//! The typed calls, one file per script of `lua/`: arguments in, result codes out.

mod cancel;
mod claim;
mod cycle;
mod durable;
mod enqueue;
mod frame;
mod heartbeat;
mod held;
mod letters;
mod outcome;
mod pause;
mod place;
mod pop;
mod probe;
mod promote;
mod queues;
mod release;
mod response;
mod revive;
mod served;
mod tick;

pub use cancel::{Cancellation, Withdrawn};
pub use claim::{Claim, Claimed};
pub use cycle::{Cycle, CycleReply, Leased, Mark, Record, Rule, Settled, WorkerKeys};
pub use enqueue::{Enqueued, Item};
pub use frame::Pushed;
pub use heartbeat::{Beat, Heartbeat};
pub use outcome::{EndedCall, Outcome, Settlement};
pub use place::{Idempotency, Placed, Placement};
pub use pop::{BlockingPop, Unblocker};
pub use promote::Promoted;
pub use release::Released;
pub use tick::{Tick, Ticked};

pub(super) use letters::{LETTERS_AT_ONCE, Range, letters, remove};
pub(super) use revive::{Revival, Revived, revive};

use redis::Value;

use super::error::StoreError;

/// Reads an answer of a script, or says which script surprised us.
fn read<T: redis::FromRedisValue>(script: &'static str, value: Value) -> Result<T, StoreError> {
    redis::from_redis_value(value).map_err(|_| StoreError::Unexpected(script))
}
