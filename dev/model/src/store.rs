//! The state of one queue in Redis, with one function per script, in the terms of `store/src/lua/`,
//! without bytes and times.
//!
//! The model checker moves by these functions, and `tests/walk/` compares them with the real
//! scripts. Time is a step: a lease ends, or a request becomes due, by an explicit call.

mod callers;
mod end;
mod failing;
mod lane;
mod poll;
mod state;
mod watch;

pub use callers::{Cancelled, EnqueueExt, EnqueueExtResult, Pushed};
pub use end::{Op, RunOutcome};
pub use lane::{Adopt, Adopted, Gate, LanePoll, LaneReply};
pub use poll::{LeaseInfo, Leased, PollStep, Reply, State};
pub use state::{
    Fault, Frame, Holder, Id, Inbox, LaneEntry, Letter, PollRecord, Record, Registered,
    SettleResult, Store, UNREADABLE, WorkerId,
};
pub use watch::{Beat, HeartbeatReply};
