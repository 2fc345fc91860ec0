//! Sending requests, and withdrawing them.

use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::deferred::EndedDeferred;
use crate::ops::delegate::delegate;
use crate::script::Script;
use redcall_common::durability::Durability;
use redcall_common::keys::QueueKeys;

pub(crate) mod cancel;
pub(crate) mod direct;
pub(crate) mod durable;
pub(crate) mod enqueue;
pub(crate) mod enqueue_ext;
pub(crate) mod push;
pub(crate) mod served;

pub use cancel::{CancelRequest, Cancellation};
pub use direct::{DirectOpener, DirectPush, DirectWrite, Doubt, PushForm};
pub use enqueue::{Enqueued, Item, Waited};
pub use enqueue_ext::{EnqueueExt, EnqueueExtResult, Idempotency, StatusTracking};
pub use push::{HeldRequests, PushChecks, PushReply};

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&enqueue::ENQUEUE, &enqueue_ext::ENQUEUE_EXT, &cancel::CANCEL]
}

/// Sends requests, and withdraws them.
pub trait SendOps {
    /// Withdraws requests of one queue. Returns one result each, in order, and the deferred
    /// requests whose end has to be published.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] they may have been withdrawn; a retry is harmless.
    fn cancel(
        &self,
        keys: &QueueKeys,
        requests: &[CancelRequest],
        timeout: Duration,
    ) -> impl Future<Output = Result<(Vec<Cancellation>, Vec<EndedDeferred>), StoreError>> + Send;

    /// Returns `true` if all earlier writes to this server have reached `level` within `timeout`.
    /// Blocks the connection for that time: use a dedicated one.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses.
    fn confirm(
        &self,
        keys: &QueueKeys,
        level: Durability,
        timeout: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Verifies that the server can confirm `level`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unsupported`] if it never can; other errors if the check fails.
    fn supports(
        &self,
        level: Durability,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Pushes `items` and, in the same write, deletes the response keys in `forget` (all of the
    /// same queue). `max_length` 0 means no cap.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] the items may have been queued.
    fn enqueue(
        &self,
        keys: &QueueKeys,
        max_length: u64,
        items: &[Item],
        forget: &[String],
        timeout: Duration,
    ) -> impl Future<Output = Result<Enqueued, StoreError>> + Send;

    /// Pushes `elements` in order by plain commands and, in the same write, deletes the response
    /// keys in `forget` and runs `checks`. It checks nothing before: the reply shows what is to
    /// be removed again by [`SendOps::unpush`].
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] the elements may have been queued. An error in the reply: Redis
    /// has refused that command, and pushed none of its elements.
    fn push(
        &self,
        keys: &QueueKeys,
        elements: &[&str],
        checks: PushChecks,
        forget: &[String],
        timeout: Duration,
    ) -> impl Future<Output = Result<PushReply, StoreError>> + Send;

    /// Removes `elements` from the queue. Returns `false` for each that is not there, because a
    /// worker has taken it.
    ///
    /// # Errors
    ///
    /// After any error each may be in the queue or not.
    fn unpush(
        &self,
        keys: &QueueKeys,
        elements: &[&str],
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send;

    /// Returns how many requests the queue holds.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn held_by(
        &self,
        keys: &QueueKeys,
        timeout: Duration,
    ) -> impl Future<Output = Result<HeldRequests, StoreError>> + Send;

    /// Enqueues each of `requests`, in order and in one write, by the extended script. Returns one
    /// result each. `max_length` 0 means no cap.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] any of them may have been enqueued. A repetition under the same
    /// id has no effect. An error among the results: Redis has refused that request.
    fn enqueue_ext(
        &self,
        keys: &QueueKeys,
        max_length: u64,
        requests: &[EnqueueExt],
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<Result<EnqueueExtResult, StoreError>>, StoreError>> + Send;

    /// Returns `true` if a live worker serves the queue now, by Redis's own clock. A script checks
    /// again when it pushes.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn is_served(
        &self,
        keys: &QueueKeys,
        timeout: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

impl SendOps for Connection {
    delegate! {
        fn cancel(
            &self, keys: &QueueKeys, requests: &[CancelRequest], timeout: Duration
        ) -> Result<(Vec<Cancellation>, Vec<EndedDeferred>), StoreError>;
        fn confirm(
            &self, keys: &QueueKeys, level: Durability, timeout: Duration
        ) -> Result<bool, StoreError>;
        fn supports(&self, level: Durability, timeout: Duration) -> Result<(), StoreError>;
        fn enqueue(
            &self, keys: &QueueKeys, max_length: u64, items: &[Item], forget: &[String],
            timeout: Duration
        ) -> Result<Enqueued, StoreError>;
        fn push(
            &self, keys: &QueueKeys, elements: &[&str], checks: PushChecks,
            forget: &[String], timeout: Duration
        ) -> Result<PushReply, StoreError>;
        fn unpush(
            &self, keys: &QueueKeys, elements: &[&str], timeout: Duration
        ) -> Result<Vec<bool>, StoreError>;
        fn held_by(&self, keys: &QueueKeys, timeout: Duration) -> Result<HeldRequests, StoreError>;
        fn enqueue_ext(
            &self, keys: &QueueKeys, max_length: u64, requests: &[EnqueueExt], timeout: Duration
        ) -> Result<Vec<Result<EnqueueExtResult, StoreError>>, StoreError>;
        fn is_served(&self, keys: &QueueKeys, timeout: Duration) -> Result<bool, StoreError>;
    }
}
