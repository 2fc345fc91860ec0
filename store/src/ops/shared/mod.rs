//! The operations of all programs.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::delegate::delegate;
use crate::script::Script;
use redcall_common::event::{EventId, NewEvent};
use redcall_common::keys::{Keys, QueueKeys};

pub(crate) mod names;
pub(crate) mod publish;
pub(crate) mod queues;
pub(crate) mod rights;
pub(crate) mod state;

pub use publish::TopicRetention;
pub use state::InstanceState;

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&queues::NOTE, &publish::CUT, &rights::RIGHTS]
}

/// The operations of all programs.
pub trait SharedOps {
    /// Returns the job names that live workers of a queue handle. Changes nothing.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn mapped_names(
        &self,
        keys: &QueueKeys,
        timeout: Duration,
    ) -> impl Future<Output = Result<BTreeSet<String>, StoreError>> + Send;

    /// Publishes an event on the topics of these streams, in this order. Returns its entry id in
    /// the last one.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses. After [`StoreError::Partly`] it is
    /// published on some of them, after [`StoreError::Lost`] it may be.
    fn publish(
        &self,
        events: &[(&str, NewEvent<'_>)],
        kept: TopicRetention,
        timeout: Duration,
    ) -> impl Future<Output = Result<EventId, StoreError>> + Send;

    /// Notes that `queues` are in use, so that operators find them; also when Redis is out of
    /// memory.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn note_queues(
        &self,
        keys: &Keys,
        queues: &[&str],
        timeout: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the state of an instance; `None` if it was never initialised, has ended, or has
    /// expired.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses; [`StoreError::Unexpected`] if the
    /// value is not a state.
    fn instance_state(
        &self,
        keys: &QueueKeys,
        instance: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<Option<InstanceState>, StoreError>> + Send;
}

impl SharedOps for Connection {
    delegate! {
        fn instance_state(
            &self, keys: &QueueKeys, instance: &str, timeout: Duration
        ) -> Result<Option<InstanceState>, StoreError>;
        fn mapped_names(
            &self, keys: &QueueKeys, timeout: Duration
        ) -> Result<BTreeSet<String>, StoreError>;
        fn publish(
            &self, events: &[(&str, NewEvent<'_>)], kept: TopicRetention, timeout: Duration
        ) -> Result<EventId, StoreError>;
        fn note_queues(
            &self, keys: &Keys, queues: &[&str], timeout: Duration
        ) -> Result<(), StoreError>;
    }
}
