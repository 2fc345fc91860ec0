//! Cancellation of abandoned calls: where each was sent, and how long that matters.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::keys::QueueKeys;
use redcall_common::time::millis;
use redcall_store::CancelRequest;
use tokio::time::Instant;

use crate::engine::deadline::left_until;

/// How long after its deadline a request may still reach a worker, because the worker that leased
/// it died. Longer than any sensible `worker.lease`, which the client does not know.
const LEASE: Duration = Duration::from_secs(30);
/// How long the cancellation of a request without a timeout is kept.
pub(crate) const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3600);

/// Where a request was sent, and its deadline.
pub(crate) struct Origin {
    pub(crate) keys: Arc<QueueKeys>,
    /// Key of its idempotency record.
    pub(crate) record: Option<String>,
    /// When its caller stops waiting; `None` for never.
    pub(crate) deadline: Option<Instant>,
}

/// A request to be cancelled.
pub(crate) struct Withdrawal {
    pub(crate) id: String,
    pub(crate) origin: Origin,
}

impl Origin {
    /// Returns how long a cancellation of the request has an effect.
    pub(crate) fn relevant_for(&self) -> Duration {
        self.deadline.map_or(DEFAULT_TTL, |deadline| left_until(deadline) + LEASE)
    }
}

impl Withdrawal {
    /// Returns `true` if writing it still has an effect.
    pub(crate) fn is_relevant(&self, now: Instant) -> bool {
        self.origin.deadline.is_none_or(|deadline| now < deadline + LEASE)
    }

    pub(crate) fn as_written(&self) -> CancelRequest {
        let ttl_ms = millis(self.origin.relevant_for());
        CancelRequest { id: self.id.clone(), ttl_ms, record: self.origin.record.clone() }
    }
}
