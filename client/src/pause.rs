//! Pausing queues: what runs goes on, nothing starts.

use redcall_common::keys::QueueKeys;
use redcall_store::StoreError;
use tokio::time::timeout;

use crate::cancel::check_queue;
use crate::client::Client;
use crate::error::CallError;

impl Client {
    /// Pauses `queue`, for all workers and until [`Client::resume`]: what runs goes on and is
    /// answered, nothing starts. Requests are queued as ever; their time goes on. Whether it was
    /// not paused before.
    ///
    /// # Errors
    ///
    /// `invalid_request` for what cannot be a queue; `unavailable` when Redis cannot be reached
    /// within the setting `client.timeout`. Calling again is harmless, also after the future was
    /// dropped.
    pub async fn pause(&self, queue: &str) -> Result<bool, CallError> {
        self.set_paused(queue, true).await
    }

    /// Lets `queue` go on. Whether it was paused before.
    ///
    /// # Errors
    ///
    /// As [`Client::pause`].
    pub async fn resume(&self, queue: &str) -> Result<bool, CallError> {
        self.set_paused(queue, false).await
    }

    /// Whether `queue` is paused.
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
            // Known before it is used: a look at the queues must show a paused one. Pausing does
            // not depend on it.
            let (all, queues) = (&self.inner.keys, [queue]);
            let noted = async { Ok(link.note_queues(all, &queues, timeout).await) };
            match self.in_time(noted).await? {
                Err(error) if error.is_transient() || matches!(error, StoreError::Ended) => {
                    return Err(CallError::unanswered(error));
                }
                Err(error) => tracing::debug!(%error, queue, "the queue's name was not noted"),
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
        asking: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, CallError> {
        let asked = timeout(self.inner.timeout, asking).await;
        asked.map_err(|_| CallError::not_in_time())?.map_err(CallError::unanswered)
    }
}
