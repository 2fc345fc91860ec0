//! The dead letters of a queue.

use redcall_store::dead::DeadLetters;

use crate::engine::client::Client;

impl Client {
    /// Returns the dead letters of `queue`, to list, retry or purge them.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use redcall_client::{Code, DeadSelection};
    ///
    /// # let failing = client.request("fail").data(&serde_json::json!({"message": "no"}));
    /// # let failing = failing.track_status(std::time::Duration::from_secs(60)).send().await?;
    /// # let mut states = client.monitor(&failing).await?;
    /// # while states.next().await.is_some() {}
    /// let dead = client.dead("default");
    /// let failed = DeadSelection { code: Some(Code::HandlerFailed), ..Default::default() };
    /// for letter in dead.list(&failed).await?.letters {
    ///     println!("{} {}: {}", letter.entry, letter.id, letter.reason);
    /// }
    /// let report = dead.retry(&failed, false).await?; // or `purge`
    /// assert_eq!(report.done.len(), 1);
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn dead(&self, queue: &str) -> DeadLetters {
        let dead = self.inner.inspector.dead(queue, self.inner.caps.of(queue));
        dead.signed_by(self.inner.keyring.clone())
    }
}
