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

use std::collections::BTreeSet;
use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::delegate::delegate;
use crate::ops::shared::state::InstanceState;
use crate::ops::worker::polls::poll::LimitRule;
use crate::ops::worker::upkeep::rotation::LimitFault;
use crate::ops::worker::upkeep::times::TimeAhead;
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

/// Reads queues and workers. Clients need it to find a job by its id, workers for their metrics,
/// administrators for all that they show.
pub trait QueueOps {
    /// As [`Inspector::queue_names`].
    ///
    /// # Errors
    ///
    /// As there.
    fn queue_names(&self) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send;

    /// As [`Inspector::other_queue_names`].
    ///
    /// # Errors
    ///
    /// As there.
    fn other_queue_names(
        &self,
        noted: &[String],
    ) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send;

    /// As [`Inspector::queues`].
    ///
    /// # Errors
    ///
    /// As there.
    fn queues(&self) -> impl Future<Output = Result<Vec<QueueInfo>, StoreError>> + Send;

    /// As [`Inspector::queue`].
    ///
    /// # Errors
    ///
    /// As there.
    fn queue(&self, name: &str) -> impl Future<Output = Result<QueueInfo, StoreError>> + Send;

    /// As [`Inspector::listing`].
    ///
    /// # Errors
    ///
    /// As there.
    fn listing(&self) -> impl Future<Output = Result<Listing, StoreError>> + Send;

    /// As [`Inspector::workers`].
    ///
    /// # Errors
    ///
    /// As there.
    fn workers(&self) -> impl Future<Output = Result<Vec<WorkerInfo>, StoreError>> + Send;

    /// As [`Inspector::mapped_names`].
    ///
    /// # Errors
    ///
    /// As there.
    fn mapped_names(
        &self,
        queue: &str,
    ) -> impl Future<Output = Result<BTreeSet<String>, StoreError>> + Send;

    /// As [`Inspector::instance_state`].
    ///
    /// # Errors
    ///
    /// As there.
    fn instance_state(
        &self,
        queue: &str,
        instance: &str,
    ) -> impl Future<Output = Result<Option<InstanceState>, StoreError>> + Send;
}

/// Finds problems of the server and of what is stored, for `redcall doctor`.
pub trait DoctorOps {
    /// As [`Inspector::server_info`].
    ///
    /// # Errors
    ///
    /// As there.
    fn server_info(&self) -> impl Future<Output = Result<ServerInfo, StoreError>> + Send;

    /// As [`Inspector::clock`].
    ///
    /// # Errors
    ///
    /// As there.
    fn clock(&self, trips: u32) -> impl Future<Output = Result<Clock, StoreError>> + Send;

    /// As [`Inspector::missing_rights`].
    ///
    /// # Errors
    ///
    /// As there.
    fn missing_rights(
        &self,
        role: Role,
        queues: &[&str],
    ) -> impl Future<Output = Result<Vec<MissingRight>, StoreError>> + Send;

    /// As [`Inspector::heads`].
    ///
    /// # Errors
    ///
    /// As there.
    fn heads(
        &self,
        queues: &[&str],
    ) -> impl Future<Output = Result<Vec<Option<Vec<u8>>>, StoreError>> + Send;

    /// As [`Inspector::stuck`].
    ///
    /// # Errors
    ///
    /// As there.
    fn stuck(
        &self,
        queue: &str,
        after: Duration,
    ) -> impl Future<Output = Result<Vec<StuckWorker>, StoreError>> + Send;

    /// As [`Inspector::kept_bytes`].
    ///
    /// # Errors
    ///
    /// As there.
    fn kept_bytes(&self, queue: &str)
    -> impl Future<Output = Result<KeptBytes, StoreError>> + Send;

    /// As [`Inspector::census`].
    ///
    /// # Errors
    ///
    /// As there.
    fn census(
        &self,
        timeout: Duration,
        max: u64,
    ) -> impl Future<Output = Result<KeyCensus, StoreError>> + Send;

    /// As [`Inspector::times_ahead`].
    ///
    /// # Errors
    ///
    /// As there.
    fn times_ahead(
        &self,
        queue: &str,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<TimeAhead>, StoreError>> + Send;

    /// As [`Inspector::limit_faults`].
    ///
    /// # Errors
    ///
    /// As there.
    fn limit_faults(
        &self,
        queue: &str,
        rules: &[LimitRule],
        partitioned: &[(String, String)],
    ) -> impl Future<Output = Result<Vec<LimitFault>, StoreError>> + Send;
}

impl QueueOps for Inspector {
    delegate! { Inspector:
        fn queue_names(&self) -> Result<Vec<String>, StoreError>;
        fn other_queue_names(&self, noted: &[String]) -> Result<Vec<String>, StoreError>;
        fn queues(&self) -> Result<Vec<QueueInfo>, StoreError>;
        fn queue(&self, name: &str) -> Result<QueueInfo, StoreError>;
        fn listing(&self) -> Result<Listing, StoreError>;
        fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError>;
        fn mapped_names(&self, queue: &str) -> Result<BTreeSet<String>, StoreError>;
        fn instance_state(
            &self, queue: &str, instance: &str
        ) -> Result<Option<InstanceState>, StoreError>;
    }
}

impl DoctorOps for Inspector {
    delegate! { Inspector:
        fn server_info(&self) -> Result<ServerInfo, StoreError>;
        fn clock(&self, trips: u32) -> Result<Clock, StoreError>;
        fn missing_rights(
            &self, role: Role, queues: &[&str]
        ) -> Result<Vec<MissingRight>, StoreError>;
        fn heads(&self, queues: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;
        fn stuck(&self, queue: &str, after: Duration) -> Result<Vec<StuckWorker>, StoreError>;
        fn kept_bytes(&self, queue: &str) -> Result<KeptBytes, StoreError>;
        fn census(&self, timeout: Duration, max: u64) -> Result<KeyCensus, StoreError>;
        fn times_ahead(
            &self, queue: &str, lease: Duration
        ) -> Result<Vec<TimeAhead>, StoreError>;
        fn limit_faults(
            &self, queue: &str, rules: &[LimitRule], partitioned: &[(String, String)]
        ) -> Result<Vec<LimitFault>, StoreError>;
    }
}
