//! The dead letters of a queue.

use redcall_store::dead::DeadLetters;

use crate::engine::client::Client;

impl Client {
    /// Returns the dead letters of `queue`, to list, retry or purge them.
    ///
    /// ```no_run
    /// # async fn doc(client: redcall_client::Client) -> Result<(), redcall_client::StoreError> {
    /// use redcall_client::{Code, DeadSelection};
    ///
    /// let dead = client.dead("default");
    /// let failed = DeadSelection { code: Some(Code::HandlerFailed), ..Default::default() };
    /// for letter in dead.list(&failed).await?.letters {
    ///     println!("{} {}: {}", letter.entry, letter.id, letter.reason);
    /// }
    /// let report = dead.retry(&failed, false).await?;
    /// println!("{} retried", report.done.len());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn dead(&self, queue: &str) -> DeadLetters {
        let dead = self.inner.inspector.dead(queue, self.inner.caps.of(queue));
        dead.signed_by(self.inner.keyring.clone())
    }
}
