//! The only crate that talks to Redis: no other shipped crate depends on the driver, and Cargo
//! enforces that.
//!
//! | file | holds |
//! |---|---|
//! | `lua/`, `script/` | the scripts, one file per state move, and the parts that they share |
//! | `ops/` | their typed calls, as methods of [`Connection`] |
//! | `control.rs` | the messages to a queue's workers |
//! | `connection.rs` | opening connections |
//! | `sentinel.rs` | which server is the primary |
//! | `link.rs` | a connection that reconnects |
//! | [`inspect`] | reading queues and workers, for operators |
//! | [`rights`] | which commands, keys and channels each program needs |
//! | [`safety`] | whether Redis keeps its data |
//! | `server.rs` | a server's version, role and persistence |
//! | `listing.rs` | all queues, also those of other programs |
//! | `survey.rs` | finding problems, for `redcall doctor` |
//! | [`dead`] | reading, retrying and purging dead letters, for operators |
//! | [`embedded`] | the private server of examples and tests |

mod connection;
mod control;
pub mod dead;
pub mod embedded;
mod error;
pub mod inspect;
mod link;
mod listing;
mod ops;
pub mod rights;
pub mod safety;
mod script;
mod sentinel;
mod server;
mod survey;

pub use connection::{Connector, refused_certificate, set_crypto_provider};
pub use control::Control;
pub use error::StoreError;
pub use link::{Connection, ConnectionId, PushHandler};
pub use listing::Listing;
pub use ops::{
    BlockingPop, CancelRequest, Cancellation, Claim, Claimed, Covered, DeferredRecord, DeferredRun,
    DeferredSettled, EndedCall, EndedDeferred, Enqueued, EventWatch, Fault, GroupRead, Heartbeat,
    HeartbeatRequest, Idempotency, InstanceState, Item, KeptAnswers, LeaseInfo, Leased, LimitFault,
    LimitRule, Member, Outcome, Placed, Placement, PollReply, Promoted, Pushed, QueuePoll,
    QueueState, Record, Released, Remembered, Settled, Settlement, SideEffect, StateChange, States,
    StatusTracking, Tick, Ticked, TimeAhead, TopicRead, TopicRetention, Unblocker, Waited,
    WorkerKeys,
};
#[doc(hidden)]
pub use ops::{benching, fuzzing};
pub use server::{Append, Clock, ServerInfo};
pub use survey::{KeptBytes, KeyCensus, StuckWorker};

/// The text of a script, as sent to Redis.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct ScriptText {
    /// Its name, which is that of its file.
    pub name: &'static str,
    /// The whole text, with the parts that scripts share.
    pub text: &'static str,
}

/// Returns every script, for tests that need a case for each.
#[doc(hidden)]
pub fn scripts() -> impl Iterator<Item = ScriptText> {
    script::all().into_iter().map(|script| ScriptText { name: script.name(), text: script.text() })
}

/// Returns `enqueue.lua` as the code block of docs/reference/protocol.md, for clients in other
/// languages.
#[must_use]
pub fn enqueue_script() -> String {
    format!("```lua\n{}```\n", script::ENQUEUE.text())
}
