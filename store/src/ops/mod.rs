//! The operations, by the programs that use them: one file each, with the typed call of its script.

pub(crate) mod admin;
pub mod benching;
pub(crate) mod client;
pub(crate) mod deferred;
pub mod fuzzing;
pub(crate) mod reply;
pub(crate) mod shared;
pub(crate) mod worker;

pub use client::answers::settle::DeferredSettled;
pub use client::answers::status::States;
pub use client::events::group::{GroupRead, Member};
pub use client::events::topic::TopicRead;
pub use client::events::watch::EventWatch;
pub use client::send::cancel::{CancelRequest, Cancellation};
pub use client::send::enqueue::{Enqueued, Item, Waited};
pub use client::send::place::{Idempotency, Placed, Placement, StatusTracking};
pub use deferred::{Covered, DeferredRecord, DeferredRun, EndedDeferred};
pub use shared::publish::TopicRetention;
pub use worker::polls::outcome::{EndedCall, Outcome, Settlement, SideEffect, StateChange};
pub use worker::polls::poll::{
    LeaseInfo, Leased, LimitRule, PollReply, QueuePoll, Record, Settled, WorkerKeys,
};
pub use worker::polls::pop::BlockingPop;
pub use worker::run::claim::{Claim, Claimed};
pub use worker::run::frame::Pushed;
pub use worker::run::seen::Remembered;
pub use worker::run::state::InstanceState;
pub use worker::upkeep::heartbeat::{Heartbeat, HeartbeatRequest};
pub use worker::upkeep::promote::Promoted;
pub use worker::upkeep::queue_state::QueueState;
pub use worker::upkeep::release::Released;
pub use worker::upkeep::rotation::{Fault, LimitFault};
pub use worker::upkeep::tally::KeptAnswers;
pub use worker::upkeep::tick::{Tick, Ticked};
pub use worker::upkeep::times::TimeAhead;
