//! Around one run: may it start, its state, its frames.

use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::delegate::delegate;
use crate::ops::worker::polls::poll::WorkerKeys;
use crate::script::Script;
use redcall_common::keys::QueueKeys;
use redcall_common::request::ReplyTo;

pub(crate) mod claim;
pub(crate) mod frame;
pub(crate) mod seen;
pub(crate) mod start;

pub use claim::{Claim, Claimed};
pub use frame::Pushed;
pub use seen::Remembered;

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&frame::FRAME, &claim::CLAIM, &claim::UNIQUE, &seen::SEEN, &start::START]
}

/// Accompanies one run: may it start, its state, its frames.
pub trait RunOps {
    /// Claims the call of an idempotency key for a leased request; a retry is harmless.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] the request may already be the call.
    fn claim(
        &self,
        keys: &WorkerKeys,
        claim: &Claim<'_>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Claimed, StoreError>> + Send;

    /// Returns the deadline of the call with digest `call`, Redis time in ms (0: none), if `id` is
    /// the request that runs for it. Changes nothing.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn wanted_until(
        &self,
        keys: &QueueKeys,
        call: &str,
        id: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;

    /// Returns `true` if request `id`, enqueued at `at_ms` (Redis time; `None`: now), is the first
    /// of its kind within `window`. The kind is [`redcall_common::digest::of_job`]. A retry is
    /// harmless.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may already occupy the window.
    fn is_first(
        &self,
        keys: &QueueKeys,
        kind: &str,
        id: &str,
        at_ms: Option<u64>,
        window: Duration,
        timeout: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Pushes `frame` for request `id` if `leases`, the hash of this worker, holds it, and fewer
    /// than `window` frames are unread.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] the frame may have been pushed.
    fn push_frame(
        &self,
        leases: &str,
        id: &str,
        reply: &ReplyTo,
        frame: &str,
        window: usize,
        timeout: Duration,
    ) -> impl Future<Output = Result<Pushed, StoreError>> + Send;

    /// Remembers the first record of `change` as the start of request `id` until `until_ms` (Redis
    /// time), if the record stored so far is the second one. A retry is harmless.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may be remembered.
    fn remember(
        &self,
        keys: &QueueKeys,
        id: &str,
        change: (&str, Option<&str>),
        until_ms: u64,
        timeout: Duration,
    ) -> impl Future<Output = Result<Remembered, StoreError>> + Send;

    /// Returns the record of the start of request `id`.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn recall(
        &self,
        keys: &QueueKeys,
        id: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;

    /// Records that run `attempt` of request `id` starts on this worker, in states that are kept
    /// for `ttl_ms`. Returns `false` if the lease is lost and nothing was recorded. `again`: the
    /// same call was sent before, and its reply was lost.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may be recorded.
    fn note_start(
        &self,
        keys: &WorkerKeys,
        id: &str,
        attempt: u32,
        ttl_ms: u64,
        again: bool,
        timeout: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

impl RunOps for Connection {
    delegate! {
        fn claim(
            &self, keys: &WorkerKeys, claim: &Claim<'_>, timeout: Duration
        ) -> Result<Claimed, StoreError>;
        fn wanted_until(
            &self, keys: &QueueKeys, call: &str, id: &str, timeout: Duration
        ) -> Result<Option<u64>, StoreError>;
        fn is_first(
            &self, keys: &QueueKeys, kind: &str, id: &str, at_ms: Option<u64>, window: Duration,
            timeout: Duration
        ) -> Result<bool, StoreError>;
        fn push_frame(
            &self, leases: &str, id: &str, reply: &ReplyTo, frame: &str, window: usize,
            timeout: Duration
        ) -> Result<Pushed, StoreError>;
        fn remember(
            &self, keys: &QueueKeys, id: &str, change: (&str, Option<&str>), until_ms: u64,
            timeout: Duration
        ) -> Result<Remembered, StoreError>;
        fn recall(
            &self, keys: &QueueKeys, id: &str, timeout: Duration
        ) -> Result<Option<String>, StoreError>;
        fn note_start(
            &self, keys: &WorkerKeys, id: &str, attempt: u32, ttl_ms: u64, again: bool,
            timeout: Duration
        ) -> Result<bool, StoreError>;
    }
}
