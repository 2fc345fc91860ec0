//! An outcome on its way to Redis.

use redcall_store::{Outcome, Settled};
use tokio::sync::oneshot;

use crate::metrics::JobMetrics;

/// An outcome to settle, the receiver of the result, and the metrics to count.
pub(crate) struct PendingSettlement {
    pub(crate) outcome: Outcome,
    pub(crate) notify: Option<oneshot::Sender<Settled>>,
    pub(crate) job_metrics: JobMetrics,
}

impl PendingSettlement {
    /// Returns an outcome without a receiver. `job` is its job's name, if that is mapped.
    pub(crate) fn without_receiver(outcome: Outcome, job: Option<String>) -> Self {
        Self { outcome, notify: None, job_metrics: JobMetrics { job, ran: None } }
    }
}
