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

pub use letters::{LetterBatch, LetterRange};
pub use revive::{Revival, Revived};

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

/// Reads and changes the dead letters of queues. [`DeadLetters`](crate::dead::DeadLetters) selects
/// them and writes the requests that retry them.
pub trait DeadOps {
    /// Returns the time of the broker, ms since the epoch.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses.
    fn time_ms(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Returns the first letters of `range`, up to `max` (1,000 at most) and 8 MiB.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses, as it does if an end of the range is not an entry id.
    fn letters(
        &self,
        keys: &QueueKeys,
        range: &LetterRange,
        max: usize,
    ) -> impl Future<Output = Result<LetterBatch, StoreError>> + Send;

    /// Deletes the letters of these entries. Returns `true` for each that still existed.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses. After [`StoreError::Lost`] they may be deleted.
    fn remove_letters(
        &self,
        keys: &QueueKeys,
        entries: &[String],
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send;

    /// Puts letters back into the queue, in order and in one step, up to its `max_length` (0 for no
    /// cap). Returns one result each.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses. After [`StoreError::Lost`] they may be queued; a
    /// repeated call returns [`Revived::Gone`] for those.
    fn revive_letters(
        &self,
        keys: &QueueKeys,
        max_length: u64,
        letters: &[Revival],
    ) -> impl Future<Output = Result<Vec<Revived>, StoreError>> + Send;
}
