//! Reading queues, workers and the server, for operators and for checks at the start of a program.
//!
//! | file | holds |
//! |---|---|
//! | `inspector.rs` | queues and workers |
//! | `listing.rs` | all queues, also those of other programs |
//! | `survey.rs`, `limits.rs` | finding problems, for `redcall doctor` |
//! | `state.rs` | the state of a service's instance |
//! | `server.rs` | a server's version, role and persistence |
//! | [`safety`] | whether Redis keeps its data |
//! | [`rights`], `missing.rs` | the rights at Redis that each program needs, and those it lacks |

use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::delegate::delegate;
use crate::script::Role;
use redcall_common::keys::Keys;
use rights::MissingRight;

mod inspector;
mod limits;
mod listing;
mod missing;
pub mod rights;
pub mod safety;
mod server;
mod state;
mod survey;

pub(crate) use inspector::read_queue;
pub use inspector::{Inspector, Overdue, QueueInfo, WorkerInfo};
pub use listing::Listing;
pub use server::{Append, Clock, ServerInfo};
pub use survey::{KeptBytes, KeyCensus, StuckWorker};

/// Checks the server at the start of a program.
pub trait CheckOps {
    /// Returns the rights that the user of this connection lacks for `role` on these queues;
    /// sorted, required ones first. Only checks; runs none of the commands.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses, as it does if the user may not run
    /// scripts.
    fn missing_rights(
        &self,
        role: Role,
        keys: &Keys,
        queues: &[&str],
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<MissingRight>, StoreError>> + Send;

    /// Returns the facts that the server reports.
    ///
    /// # Errors
    ///
    /// If Redis is not reachable within `timeout`. Cancel-safe.
    fn server_info(
        &self,
        timeout: Duration,
    ) -> impl Future<Output = Result<ServerInfo, StoreError>> + Send;
}

impl CheckOps for Connection {
    delegate! {
        fn missing_rights(
            &self, role: Role, keys: &Keys, queues: &[&str], timeout: Duration
        ) -> Result<Vec<MissingRight>, StoreError>;
        fn server_info(&self, timeout: Duration) -> Result<ServerInfo, StoreError>;
    }
}
