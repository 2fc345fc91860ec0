//! Reading answers and states, and settling deferred requests.

use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::deferred::{Covered, DeferredRun};
use crate::ops::delegate::delegate;
use crate::script::Script;
use redcall_common::keys::QueueKeys;

pub(crate) mod channel;
pub(crate) mod response;
pub(crate) mod settle;
pub(crate) mod status;
pub(crate) mod trim;

pub use settle::DeferredSettled;
pub use status::States;

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&settle::SETTLE, &trim::TRIM]
}

/// Reads answers and states, and settles deferred requests.
pub trait AnswerOps {
    /// Returns the notification channel of request `id`; `None` if no worker holds its lease, or
    /// the request has no channel.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn channel_of(
        &self,
        keys: &QueueKeys,
        id: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;

    /// Returns the last frame at each of `keys`, without removing it, in one round trip. `None` for
    /// an empty key.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn last_frames(
        &self,
        keys: &[String],
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<Option<Vec<u8>>>, StoreError>> + Send;

    /// Returns up to 64 frames at `key`, from position `from` on, without removing them. Empty if
    /// there are none.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn frames(
        &self,
        key: &str,
        from: u64,
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<Vec<u8>>, StoreError>> + Send;

    /// Returns the first frame at `key`, without removing it.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn first_frame(
        &self,
        key: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;

    /// Returns the number of frames at `key`.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn frame_count(
        &self,
        key: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Deletes response keys of one queue that no caller will read again.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn forget(
        &self,
        keys: &[String],
        timeout: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the deferred request `id`, if the token of this digest is valid for it; `None`
    /// otherwise. After its settlement only the token identifies a request.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn deferred(
        &self,
        keys: &QueueKeys,
        id: &str,
        digest: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<Option<(DeferredRun, Covered)>, StoreError>> + Send;

    /// Ends a deferred request with a frame, if its token is valid. `token` is the request's id,
    /// the token's digest, and the settler's own name. `end` is the frame without its first two
    /// fields, the code and reason of a failure, and `true` if later callers of the same
    /// idempotency key get this end.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may be settled; a retry under the same name returns the same
    /// result.
    fn settle_deferred(
        &self,
        keys: &QueueKeys,
        token: (&str, &str, &str),
        end: (&str, Option<(&str, &str)>, bool),
        timeout: Duration,
    ) -> impl Future<Output = Result<DeferredSettled, StoreError>> + Send;

    /// Reads the record `key`, whose size is bounded.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn states(
        &self,
        key: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<States, StoreError>> + Send;

    /// Returns the first of these keys that exists.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn first_that_exists(
        &self,
        keys: &[String],
        timeout: Duration,
    ) -> impl Future<Output = Result<Option<usize>, StoreError>> + Send;

    /// Removes the frames at `key` before the one that has been `read`, by its attempt and `seq`;
    /// it stays. Returns attempt and `seq` of the first remaining frame; `None` if there is none,
    /// or if it is much larger than 8 MiB and than `largest`, the size of the largest frame that
    /// this process has received (bytes).
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] they may have been removed; a retry is harmless.
    fn trim(
        &self,
        key: &str,
        read: (u32, u64),
        largest: usize,
        timeout: Duration,
    ) -> impl Future<Output = Result<Option<(u32, u64)>, StoreError>> + Send;
}

impl AnswerOps for Connection {
    delegate! {
        fn channel_of(
            &self, keys: &QueueKeys, id: &str, timeout: Duration
        ) -> Result<Option<String>, StoreError>;
        fn last_frames(
            &self, keys: &[String], timeout: Duration
        ) -> Result<Vec<Option<Vec<u8>>>, StoreError>;
        fn frames(
            &self, key: &str, from: u64, timeout: Duration
        ) -> Result<Vec<Vec<u8>>, StoreError>;
        fn first_frame(&self, key: &str, timeout: Duration) -> Result<Option<Vec<u8>>, StoreError>;
        fn frame_count(&self, key: &str, timeout: Duration) -> Result<u64, StoreError>;
        fn forget(&self, keys: &[String], timeout: Duration) -> Result<(), StoreError>;
        fn deferred(
            &self, keys: &QueueKeys, id: &str, digest: &str, timeout: Duration
        ) -> Result<Option<(DeferredRun, Covered)>, StoreError>;
        fn settle_deferred(
            &self, keys: &QueueKeys, token: (&str, &str, &str),
            end: (&str, Option<(&str, &str)>, bool), timeout: Duration
        ) -> Result<DeferredSettled, StoreError>;
        fn states(&self, key: &str, timeout: Duration) -> Result<States, StoreError>;
        fn first_that_exists(
            &self, keys: &[String], timeout: Duration
        ) -> Result<Option<usize>, StoreError>;
        fn trim(
            &self, key: &str, read: (u32, u64), largest: usize, timeout: Duration
        ) -> Result<Option<(u32, u64)>, StoreError>;
    }
}
