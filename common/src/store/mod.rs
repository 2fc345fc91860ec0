//! The only door to Redis: no other folder of the workspace (but testkit) names its crates.
//!
//! | file | holds |
//! |---|---|
//! | [`keys`] | every key name |
//! | `lua/`, `script.rs` | the scripts, one file per state move |
//! | `ops/` | their typed calls, as methods of [`Link`] |
//! | `control.rs` | what a queue's workers are told |
//! | `connection.rs` | opening connections |
//! | `sentinel.rs` | which server is the primary |
//! | `link.rs` | a connection that comes back by itself |
//! | [`inspect`] | reading queues and workers, for people |
//! | `server.rs` | what Redis says of itself |
//! | `survey.rs` | looking for what went wrong, for `redcall doctor` |
//! | [`dead`] | reading, retrying and purging dead letters, for people |
//! | [`embedded`] | the private server of examples and tests |

mod connection;
mod control;
pub mod dead;
pub mod embedded;
mod error;
pub mod inspect;
pub mod keys;
mod link;
mod ops;
mod script;
mod sentinel;
mod server;
mod survey;

pub use connection::{Connector, set_crypto_provider};
pub use control::Control;
pub use error::StoreError;
pub use link::{Link, Sink, Standing};
pub use ops::{
    Beat, BlockingPop, Cancellation, Claim, Claimed, Cycle, CycleReply, EndedCall, EndedLater,
    Enqueued, EventWatch, Extra, ForLater, Heartbeat, Idempotency, InstanceState, Item, Kept,
    Leased, Look, Mark, Member, Monitored, Outcome, Pending, Placed, Placement, Promoted, Pushed,
    QueueState, Record, Released, Rule, Settled, SettledLater, Settlement, Share, StateChange,
    States, Tick, Ticked, Unblocker, Withdrawn, WorkerKeys,
};
#[doc(hidden)]
pub use ops::{benching, fuzzing};
pub use server::{Append, Clock, ServerInfo};
pub use survey::{KeyCensus, StuckWorker};

/// `enqueue.lua` as the code block that PROTOCOL.md shows, for clients in other languages.
#[must_use]
pub fn enqueue_script() -> String {
    format!("```lua\n{}```\n", script::ENQUEUE.text())
}
