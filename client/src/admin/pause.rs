//! Pausing queues: running jobs finish, no job starts.

use redcall_common::keys::QueueKeys;
use redcall_store::{PauseOps as _, SharedOps as _, StoreError};
use tokio::time::timeout;

use crate::engine::client::Client;
use crate::error::CallError;
use crate::names::check_queue;

impl Client {
    /// Pauses `queue` for all workers until [`Client::resume`]: running jobs finish and are
    /// answered, no job starts. Requests are still enqueued, and their timeouts run. Returns
    /// `false` if it was paused already.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// assert!(client.pause("low").await?);
    /// assert!(client.is_paused("low").await?);
    /// client.request("echo").data("hello").queue("low").send().await?; // waits until `resume`
    /// assert!(client.resume("low").await?);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_request` for an invalid queue name; `unavailable` if Redis cannot be reached within
    /// the setting `client.timeout`. Repeating the call is safe, also after the future was dropped.
    pub async fn pause(&self, queue: &str) -> Result<bool, CallError> {
        self.set_paused(queue, true).await
    }

    /// Resumes `queue`. Returns `false` if it was not paused.
    ///
    /// # Errors
    ///
    /// As [`Client::pause`].
    pub async fn resume(&self, queue: &str) -> Result<bool, CallError> {
        self.set_paused(queue, false).await
    }

    /// Returns `true` if `queue` is paused.
    ///
    /// # Errors
    ///
    /// As [`Client::pause`].
    pub async fn is_paused(&self, queue: &str) -> Result<bool, CallError> {
        let keys = self.keys_of(queue)?;
        self.in_time(self.inner.link.is_paused(&keys, self.inner.timeout)).await
    }

    async fn set_paused(&self, queue: &str, paused: bool) -> Result<bool, CallError> {
        let keys = self.keys_of(queue)?;
        let (link, timeout) = (&self.inner.link, self.inner.timeout);
        if paused {
            // Registered even before its first request, so that listings show the paused queue.
            // Pausing does not depend on it.
            let (all, queues) = (&self.inner.keys, [queue]);
            let noted = async { Ok(link.note_queues(all, &queues, timeout).await) };
            match self.in_time(noted).await? {
                Err(error) if error.is_transient() || matches!(error, StoreError::Ended) => {
                    return Err(CallError::unanswered(error));
                }
                Err(error) => tracing::debug!(%error, queue, "queue not registered"),
                Ok(()) => {}
            }
        }
        self.in_time(link.set_paused(&keys, paused, timeout)).await
    }

    fn keys_of(&self, queue: &str) -> Result<QueueKeys, CallError> {
        check_queue(queue)?;
        Ok(self.inner.keys.of(queue))
    }

    async fn in_time<T>(
        &self,
        command: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, CallError> {
        let done = timeout(self.inner.timeout, command).await;
        done.map_err(|_| CallError::not_in_time())?.map_err(CallError::unanswered)
    }
}
