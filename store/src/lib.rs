//! The only crate that talks to Redis: no other shipped crate depends on the driver, and Cargo
//! enforces that. It opens connections that reconnect, runs the scripts that move requests between
//! states, and starts private servers for tests and examples. Programs that call or run jobs use it
//! through `redcall-client` and `redcall-worker`.
//!
//! ```
//! use redcall_common::keys::Keys;
//! use redcall_common::settings::RedisSettings;
//! use redcall_store::Connector;
//! use redcall_store::embedded::Embedded;
//! use redcall_store::inspect::Inspector;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut settings = RedisSettings { url: "embedded".to_owned(), ..Default::default() };
//!     let server = Embedded::serve(&mut settings).await?; // a private server, until it is dropped
//!
//!     let connector = Connector::new(&settings, "my-program")?;
//!     let inspector = Inspector::new(&connector, Keys::new(&settings.prefix));
//!     assert_eq!(inspector.queue("default").await?.length, 0);
//!     drop(server);
//!     Ok(())
//! }
//! ```
//!
//! | to | use |
//! |---|---|
//! | connect | [`Connector`], [`Connection`] |
//! | move requests between states | the methods of [`Connection`], one per script |
//! | read queues and workers | [`Inspector`](inspect::Inspector) |
//! | read, retry and purge dead letters | [`DeadLetters`](dead::DeadLetters) |
//! | start a private server | [`Embedded`](embedded::Embedded) |
//! | list the rights that a Redis user needs | [`rights`] |
//! | check that Redis keeps its data | [`safety`] |

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
