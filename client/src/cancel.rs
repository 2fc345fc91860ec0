//! Withdrawing requests: of callers that have given up, and by whoever asks for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use redcall_common::error::Code;
use redcall_common::keys::QueueKeys;
use redcall_common::name::{is_id, is_queue};
use redcall_common::time::millis;
use redcall_store::{Cancellation, Withdrawn};
use tokio::time::{Instant, timeout};

use crate::client::Client;
use crate::error::CallError;
use crate::request::left_until;
use crate::ticket::Ticket;

/// How long after its time a request may still come to a worker, because the one that had it died.
/// Workers' leases are not known here; this is longer than they are meant to be.
const LEASE: Duration = Duration::from_secs(30);
/// How long a request may wait whose time is not known.
const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3600);
/// How many queues are asked at the same time.
const QUEUES_MAX: usize = 64;

/// Where a request was sent, and for how long.
pub(crate) struct Origin {
    pub(crate) keys: Arc<QueueKeys>,
    /// The record of its idempotency key.
    pub(crate) record: Option<String>,
    /// When its caller stops caring; `None` for never.
    pub(crate) deadline: Option<Instant>,
}

/// A request that is not wanted any more.
pub(crate) struct Withdrawal {
    pub(crate) id: String,
    pub(crate) origin: Origin,
}

impl Origin {
    /// How long a withdrawal of it means something.
    fn relevant_for(&self) -> Duration {
        self.deadline.map_or(DEFAULT_TTL, |deadline| left_until(deadline) + LEASE)
    }
}

impl Withdrawal {
    /// Whether it is worth writing, however late.
    pub(crate) fn is_relevant(&self, now: Instant) -> bool {
        self.origin.deadline.is_none_or(|deadline| now < deadline + LEASE)
    }

    pub(crate) fn as_written(&self) -> Withdrawn {
        let ttl_ms = millis(self.origin.relevant_for());
        Withdrawn { id: self.id.clone(), ttl_ms, record: self.origin.record.clone() }
    }
}

impl Client {
    /// Cancels the request `id` in whichever queue it is; looks at all that are known (10,000 at
    /// most). Where the queue is known, [`Client::cancel_in`] costs less.
    ///
    /// # Errors
    ///
    /// As [`Client::cancel_in`].
    pub async fn cancel(&self, id: &str) -> Result<Cancellation, CallError> {
        check_id(id)?;
        let queues = timeout(self.inner.timeout, self.inner.inspector.queue_names()).await;
        let queues = queues.map_err(|_| CallError::not_in_time())?;
        let queues = queues.map_err(CallError::unanswered)?;
        for queues in queues.chunks(QUEUES_MAX) {
            let cancels = queues.iter().map(|queue| self.cancel_in(queue, id));
            let found = try_join_all(cancels).await?;
            if let Some(found) = found.into_iter().find(|found| *found != Cancellation::Unseen) {
                return Ok(found);
            }
        }
        Ok(Cancellation::Unseen)
    }

    /// Cancels the request `id` of `queue`, for all who wait for it. What has not started does not
    /// start within the next 24 hours, a running handler is told; callers get `cancelled`. How
    /// soon a running job ends is its handler's business.
    ///
    /// # Errors
    ///
    /// `invalid_request` for an id or a queue that cannot be one; `unavailable` when Redis cannot
    /// be reached within the setting `client.timeout`. Calling again is harmless, also after the
    /// future was dropped.
    pub async fn cancel_in(&self, queue: &str, id: &str) -> Result<Cancellation, CallError> {
        check_id(id)?;
        check_queue(queue)?;
        let keys = self.inner.keys.of(queue);
        let request = Withdrawn { id: id.to_owned(), ttl_ms: millis(DEFAULT_TTL), record: None };
        self.withdraw(&keys, request).await
    }

    async fn withdraw(
        &self,
        keys: &QueueKeys,
        request: Withdrawn,
    ) -> Result<Cancellation, CallError> {
        let limit = self.inner.timeout;
        let requests = [request];
        let cancelling = self.inner.link.cancel(keys, &requests, limit);
        let cancelled = timeout(limit, cancelling).await;
        let cancelled = cancelled.map_err(|_| CallError::not_in_time())?;
        let (found, ended) = cancelled.map_err(CallError::unanswered)?;
        self.inner.results.publish_cancelled(&self.inner.link, &ended, limit).await;
        Ok(found.first().copied().unwrap_or(Cancellation::Unseen))
    }
}

/// Whether this can be the id of a request.
pub(crate) fn check_id(id: &str) -> Result<(), CallError> {
    if is_id(id) {
        return Ok(());
    }
    Err(CallError::refused(Code::InvalidRequest, format!("`{id}` is not the id of a request")))
}

/// Whether this can be a queue.
pub(crate) fn check_queue(queue: &str) -> Result<(), CallError> {
    if is_queue(queue) {
        return Ok(());
    }
    Err(CallError::refused(Code::InvalidRequest, format!("`{queue}` is not a queue name")))
}

impl Ticket {
    /// Withdraws the request: what has not started does not start, a running handler is told, and
    /// who waits for it gets `cancelled`. Under an idempotency key it goes on while others want
    /// its answer.
    ///
    /// # Errors
    ///
    /// `unavailable` as for [`Client::cancel_in`]. Calling again is harmless.
    pub async fn cancel(&self) -> Result<Cancellation, CallError> {
        let ttl_ms = millis(self.origin.relevant_for());
        let (id, record) = (self.id.clone(), self.origin.record.clone());
        self.client.withdraw(&self.origin.keys, Withdrawn { id, ttl_ms, record }).await
    }
}
