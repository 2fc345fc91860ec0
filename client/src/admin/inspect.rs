//! The inspector of queues and workers.

use redcall_store::inspect::Inspector;

use crate::engine::client::Client;

impl Client {
    /// Returns the inspector of queues and workers.
    #[must_use]
    pub fn inspect(&self) -> &Inspector {
        &self.inner.inspector
    }
}
