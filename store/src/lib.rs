//! The only door to Redis: no other shipped crate names the driver, so that Cargo
//! holds the rule.
//!
//! | file | holds |
//! |---|---|
//! | `lua/`, `script.rs` | the scripts, one file per state move |
//! | `ops/` | their typed calls, as methods of [`Link`] |
//! | `control.rs` | what a queue's workers are told |
//! | `connection.rs` | opening connections |
//! | `sentinel.rs` | which server is the primary |
//! | `link.rs` | a connection that comes back by itself |
//! | [`inspect`] | reading queues and workers, for people |
//! | [`rights`] | which commands, keys and channels each program needs |
//! | [`safety`] | whether Redis keeps its data |
//! | `server.rs` | what Redis says of itself |
//! | `listing.rs` | all queues, also those that no program of Redcall has noted |
//! | `survey.rs` | looking for what went wrong, for `redcall doctor` |
//! | [`dead`] | reading, retrying and purging dead letters, for people |
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
pub use link::{Link, Sink, Standing};
pub use listing::Listing;
pub use ops::{
    Beat, BlockingPop, Cancellation, Claim, Claimed, Covered, DeferredRecord, DeferredRun,
    DeferredSettled, EndedCall, EndedDeferred, Enqueued, EventWatch, Extra, Fault, GroupRead,
    Heartbeat, Idempotency, InstanceState, Item, Kept, Leased, LimitFault, Look, Mark, Member,
    Outcome, Placed, Placement, PollReply, Promoted, Pushed, QueuePoll, QueueState, Record,
    Released, Remembered, Rule, Settled, Settlement, StateChange, States, StatusTracking, Tally,
    Tick, Ticked, TimeAhead, Unblocker, Waited, Withdrawn, WorkerKeys,
};
#[doc(hidden)]
pub use ops::{benching, fuzzing};
pub use server::{Append, Clock, ServerInfo};
pub use survey::{KeptBytes, KeyCensus, StuckWorker};

/// A script as Redis gets it.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct ScriptText {
    /// Its name, which is that of its file.
    pub name: &'static str,
    /// All of it, with the parts that it shares with others.
    pub text: &'static str,
}

/// Every script, for tests that must have a case for each.
#[doc(hidden)]
pub fn scripts() -> impl Iterator<Item = ScriptText> {
    script::all().into_iter().map(|script| ScriptText { name: script.name(), text: script.text() })
}

/// `enqueue.lua` as the code block of docs/reference/protocol.md, for clients in other languages.
#[must_use]
pub fn enqueue_script() -> String {
    format!("```lua\n{}```\n", script::ENQUEUE.text())
}
