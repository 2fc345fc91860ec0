//! The operations of administrators.

use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::delegate::delegate;
use crate::script::Script;
use redcall_common::keys::QueueKeys;

pub(crate) mod letters;
pub(crate) mod pause;
pub(crate) mod revive;

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&letters::LETTERS, &revive::REVIVE, &pause::PAUSE]
}

/// Pauses queues.
pub trait PauseOps {
    /// Pauses or resumes a queue, and notifies its workers. Returns `true` if that changed its
    /// state.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may have happened; a retry is harmless.
    fn set_paused(
        &self,
        keys: &QueueKeys,
        paused: bool,
        timeout: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Returns `true` if a queue is paused.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn is_paused(
        &self,
        keys: &QueueKeys,
        timeout: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

impl PauseOps for Connection {
    delegate! {
        fn set_paused(
            &self, keys: &QueueKeys, paused: bool, timeout: Duration
        ) -> Result<bool, StoreError>;
        fn is_paused(&self, keys: &QueueKeys, timeout: Duration) -> Result<bool, StoreError>;
    }
}
