//! Pausing queues.

use redcall_common::error::Code;
use redcall_common::name::is_queue;

use crate::client::Client;
use crate::error::CallError;

impl Client {
    /// Stops workers from starting anything of `queue`, within a second. What runs goes on; what is
    /// called meanwhile is queued, and waits.
    ///
    /// # Errors
    ///
    /// `invalid_request` for what cannot be a queue; `unavailable` when Redis cannot be reached
    /// within the setting `client.timeout`. Doing it again is harmless, also after the future was
    /// dropped.
    pub async fn pause(&self, queue: &str) -> Result<(), CallError> {
        self.set_paused(queue, true).await
    }

    /// Lets `queue` go on, within a second.
    ///
    /// # Errors
    ///
    /// As [`Client::pause`].
    pub async fn resume(&self, queue: &str) -> Result<(), CallError> {
        self.set_paused(queue, false).await
    }

    async fn set_paused(&self, queue: &str, paused: bool) -> Result<(), CallError> {
        if !is_queue(queue) {
            let message = format!("queue `{queue}` is not 1 to 64 of [A-Za-z0-9_.-]");
            return Err(CallError::rejected(Code::InvalidRequest, message));
        }
        let inner = &self.inner;
        let keys = inner.keys.of(queue);
        // So that people find it, also if nobody has used it yet.
        inner.link.note_queues(&inner.keys, &[queue], inner.timeout).await?;
        Ok(inner.link.set_paused(&keys, paused, inner.timeout).await?)
    }
}
