//! The typed calls, one file per script of `lua/`: arguments in, result codes out.

pub mod benching;
mod blocking;
mod cancel;
mod channel;
mod claim;
mod durable;
mod enqueue;
mod events;
mod expire;
mod frame;
pub mod fuzzing;
mod group;
mod heartbeat;
mod held;
mod letters;
mod names;
mod outcome;
mod pause;
mod place;
mod poll;
mod poll_fast;
mod pop;
mod probe;
mod promote;
mod queue_state;
mod queues;
mod release;
mod response;
mod revive;
mod rights;
pub(crate) mod rotation;
mod seen;
mod served;
mod settle;
mod start;
mod state;
mod status;
mod tally;
mod tick;
pub(crate) mod times;
mod trim;
mod watch;

pub use blocking::Unblocker;
pub use cancel::{Cancellation, Withdrawn};
pub use claim::{Claim, Claimed};
pub use enqueue::{Enqueued, Item, Waited};
pub use events::{Kept, Look};
pub use frame::Pushed;
pub use group::{GroupRead, Member};
pub use heartbeat::{Beat, Heartbeat};
pub use outcome::{EndedCall, Extra, Outcome, Settlement, StateChange};
pub use place::{Idempotency, Placed, Placement, StatusTracking};
pub use poll::{Leased, Mark, PollReply, QueuePoll, Record, Rule, Settled, WorkerKeys};
pub use pop::BlockingPop;
pub use promote::Promoted;
pub use queue_state::QueueState;
pub use release::Released;
pub use rotation::{Fault, LimitFault};
pub use seen::Remembered;
pub use settle::{Covered, DeferredRecord, DeferredRun, DeferredSettled, EndedDeferred};
pub use state::InstanceState;
pub use status::States;
pub use tally::Tally;
pub use tick::{Tick, Ticked};
pub use times::TimeAhead;
pub use watch::EventWatch;

pub(super) use letters::{LETTERS_AT_ONCE, Range, letters, remove};
pub(super) use names::{live_names, names_call};
pub(super) use revive::{Revival, Revived, revive};
pub(super) use times::LONGEST_LEASE;

use std::collections::HashMap;

use redis::Value;

use super::error::StoreError;

/// A number that is neither negative nor a fraction: the driver would wrap or truncate them, and
/// make a huge count of -1.
struct Whole(u64);

/// An entry of a stream: its id and its fields.
type StreamEntry = (String, HashMap<Vec<u8>, Vec<u8>>);

impl redis::FromRedisValue for Whole {
    fn from_redis_value(value: Value) -> Result<Self, redis::ParsingError> {
        match value {
            Value::Double(_) => Err("expected a count, got a fraction".into()),
            value => {
                let number: i64 = redis::from_redis_value(value)?;
                let whole =
                    u64::try_from(number).map_err(|_| "expected a count, got a negative number")?;
                Ok(Self(whole))
            }
        }
    }
}

impl Whole {
    fn count(&self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Reads a script's reply; the error names the script.
fn read<T: redis::FromRedisValue>(script: &'static str, value: Value) -> Result<T, StoreError> {
    redis::from_redis_value(value).map_err(|_| StoreError::Unexpected(script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_count_is_an_error() {
        let count = |value| read::<Whole>("enqueue", value).map(|whole| whole.count());
        assert_eq!(count(Value::Int(3)).unwrap(), 3);
        assert_eq!(count(Value::BulkString(b"3".into())).unwrap(), 3);
        for wrong in [Value::Int(-1), Value::Double(-1.0), Value::BulkString(b"-1".into())] {
            assert!(matches!(count(wrong), Err(StoreError::Unexpected("enqueue"))));
        }
    }
}
