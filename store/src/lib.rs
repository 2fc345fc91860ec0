//! The only crate that talks to Redis: no other shipped crate depends on the driver, and Cargo
//! enforces that.
//!
//! | file | holds |
//! |---|---|
//! | `lua/`, `script/` | the scripts, one file per state move, and the parts that they share |
//! | `seam/` | the traits that a broker implements: [`ClientOps`], [`WorkerOps`], [`AdminOps`] |
//! | `ops/` | their parts and the typed calls of the scripts, by calling program |
//! | `control.rs` | the messages to a queue's workers |
//! | `connection/` | opening connections, and reconnecting |
//! | [`inspect`] | reading queues, workers and the server; [`rights`] and [`safety`] |
//! | [`dead`] | reading, retrying and purging dead letters, for operators |
//! | [`embedded`] | the private server of examples and tests |

mod connection;
mod control;
pub mod dead;
pub mod embedded;
mod error;
pub mod inspect;
mod ops;
mod script;
mod seam;

pub use connection::{
    Connection, ConnectionId, Connector, PushHandler, Unblocker, refused_certificate,
    set_crypto_provider,
};
pub use control::Control;
pub use error::StoreError;
pub use inspect::{
    Append, CheckOps, Clock, KeptBytes, KeyCensus, Listing, ServerInfo, StuckWorker, rights, safety,
};
pub use ops::*;
pub use seam::{AdminOps, ClientOps, RequestPop, Session, TopicWatch, WorkerOps};

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
