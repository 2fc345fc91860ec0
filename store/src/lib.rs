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
//! | move requests between states | [`ClientOps`], [`WorkerOps`], [`AdminOps`] of [`Connection`] |
//! | read queues and workers | [`Inspector`](inspect::Inspector) |
//! | read, retry and purge dead letters | [`DeadLetters`](dead::DeadLetters) |
//! | start a private server | [`Embedded`](embedded::Embedded) |
//! | list the rights that a Redis user needs | [`rights`] |
//! | check that Redis keeps its data | [`safety`] |
//! | use the Redis of rq, for the gateway | [`rq`] |

mod connection;
mod control;
pub mod dead;
mod driver;
pub mod embedded;
mod error;
pub mod inspect;
mod ops;
pub mod rq;
mod script;
mod seam;

pub use connection::{
    Connection, ConnectionId, Connector, PushHandler, Unblocker, refused_certificate,
    set_crypto_provider,
};
pub use control::Control;
pub use error::{Cause, CauseClass, StoreError};
pub use inspect::{
    Append, CheckOps, Clock, DoctorOps, KeptBytes, KeyCensus, Listing, QueueOps, ServerInfo,
    StuckWorker, rights, safety,
};
pub use ops::*;
pub use seam::{AdminOps, ClientOps, InspectOps, RequestPop, Session, TopicWatch, WorkerOps};

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
    ops::scripts().into_iter().map(|script| ScriptText { name: script.name(), text: script.text() })
}

/// Returns `enqueue.lua` as the code block of docs/reference/protocol.md, for clients in other
/// languages.
#[must_use]
pub fn enqueue_script() -> String {
    format!("```lua\n{}```\n", ops::client::send::enqueue::ENQUEUE.text())
}
