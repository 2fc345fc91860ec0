//! Reading events.

use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::delegate::delegate;
use crate::script::Script;
use redcall_common::event::EventId;

pub(crate) mod group;
pub(crate) mod topic;
pub(crate) mod watch;

pub use group::{GroupRead, Member};
pub use topic::TopicRead;
pub use watch::EventWatch;

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&topic::EVENTS, &group::GROUP]
}

/// Reads events.
pub trait EventOps {
    /// Creates the group, if its topic exists and the group does not.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn join(
        &self,
        member: &Member,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the next event of a group.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses. After [`StoreError::Lost`] an event
    /// may be assigned to this member; it is delivered again after `claim_after`.
    fn read_group(
        &self,
        member: &Member,
        timeout: Duration,
    ) -> impl Future<Output = Result<GroupRead, StoreError>> + Send;

    /// Acknowledges an event. Returns `true` if it was still pending in the group.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn done(
        &self,
        member: &Member,
        event: EventId,
        timeout: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Reads the stream `key` beyond `from`, or only its end.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn read_topic(
        &self,
        key: &str,
        from: Option<EventId>,
        max: usize,
        timeout: Duration,
    ) -> impl Future<Output = Result<TopicRead, StoreError>> + Send;
}

impl EventOps for Connection {
    delegate! {
        fn join(&self, member: &Member, timeout: Duration) -> Result<(), StoreError>;
        fn read_group(&self, member: &Member, timeout: Duration) -> Result<GroupRead, StoreError>;
        fn done(
            &self, member: &Member, event: EventId, timeout: Duration
        ) -> Result<bool, StoreError>;
        fn read_topic(
            &self, key: &str, from: Option<EventId>, max: usize, timeout: Duration
        ) -> Result<TopicRead, StoreError>;
    }
}
