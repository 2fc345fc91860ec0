//! The inspector of queues and workers.

use redcall_store::inspect::Inspector;

use crate::engine::client::Client;

impl Client {
    /// Returns the inspector of queues and workers.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// for queue in client.inspect().queues().await? {
    ///     println!("{}: {} wait, {} run", queue.queue, queue.length, queue.running);
    /// }
    /// for worker in client.inspect().workers().await? {
    ///     println!("{} on {} runs {:?}", worker.id, worker.host, worker.jobs);
    /// }
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn inspect(&self) -> &Inspector {
        &self.inner.inspector
    }
}
