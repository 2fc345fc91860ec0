//! Explicit cancellation of requests by id.

use futures_util::future::try_join_all;
use redcall_common::keys::QueueKeys;
use redcall_common::time::millis;
use redcall_store::{CancelRequest, Cancellation, SendOps as _};
use tokio::time::timeout;

use crate::call::ticket::Ticket;
use crate::engine::client::Client;
use crate::engine::withdrawal::DEFAULT_TTL;
use crate::error::CallError;
use crate::names::{check_id, check_queue};

/// Maximum number of queues queried concurrently.
const QUEUES_MAX: usize = 64;

impl Client {
    /// Cancels the request `id` in every queue: first in those that Redcall's programs have noted,
    /// then in those whose keys are found within about a second (at most 10,000 of each). If the
    /// queue is known, [`Client::cancel_in`] costs less.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use std::time::Duration;
    ///
    /// use redcall_client::Cancellation;
    ///
    /// let later = client.request("echo").data("hello").delay(Duration::from_secs(3600));
    /// let receipt = later.send().await?;
    /// assert_eq!(client.cancel(&receipt.id).await?, Cancellation::Delayed);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Client::cancel_in`].
    pub async fn cancel(&self, id: &str) -> Result<Cancellation, CallError> {
        check_id(id)?;
        let (inspector, limit) = (&self.inner.inspector, self.inner.timeout);
        let noted = timeout(limit, inspector.queue_names()).await;
        let noted = noted.map_err(|_| CallError::not_in_time())?.map_err(CallError::unanswered)?;
        if let Some(found) = self.cancel_in_any(&noted, id).await? {
            return Ok(found);
        }
        let others = timeout(limit, inspector.other_queue_names(&noted)).await;
        let others = others.map_err(|_| CallError::not_in_time())?;
        let others = others.map_err(CallError::unanswered)?;
        Ok(self.cancel_in_any(&others, id).await?.unwrap_or(Cancellation::Unseen))
    }

    /// Cancels the request `id` in these queues, up to the first that has it.
    async fn cancel_in_any(
        &self,
        queues: &[String],
        id: &str,
    ) -> Result<Option<Cancellation>, CallError> {
        for queues in queues.chunks(QUEUES_MAX) {
            let cancels = queues.iter().map(|queue| self.cancel_in(queue, id));
            let found = try_join_all(cancels).await?;
            let found = found.into_iter().find(|found| *found != Cancellation::Unseen);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Cancels the request `id` of `queue` for all its callers, which get `cancelled`. A job that
    /// has not started does not start within the next 24 hours; a running handler is notified, and
    /// ends when its handler does.
    ///
    /// # Errors
    ///
    /// `invalid_request` for an invalid id or queue name; `unavailable` if Redis cannot be reached
    /// within the setting `client.timeout`. Repeating the call is safe, also after the future was
    /// dropped.
    pub async fn cancel_in(&self, queue: &str, id: &str) -> Result<Cancellation, CallError> {
        check_id(id)?;
        check_queue(queue)?;
        let keys = self.inner.keys.of(queue);
        let request =
            CancelRequest { id: id.to_owned(), ttl_ms: millis(DEFAULT_TTL), record: None };
        self.withdraw(&keys, request).await
    }

    async fn withdraw(
        &self,
        keys: &QueueKeys,
        request: CancelRequest,
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

impl Ticket {
    /// Cancels the request: a job that has not started never does, a running handler is notified,
    /// and its callers get `cancelled`. Under an idempotency key, the job continues while other
    /// callers wait.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use std::time::Duration;
    ///
    /// use redcall_client::Code;
    ///
    /// let nap = client.request("echo").data("hello").delay(Duration::from_secs(3600));
    /// let ticket = nap.submit().await?;
    /// ticket.cancel().await?;
    /// assert_eq!(ticket.wait().await.unwrap_err().code(), Code::Cancelled);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// `unavailable` as for [`Client::cancel_in`]. Repeating the call is safe.
    pub async fn cancel(&self) -> Result<Cancellation, CallError> {
        let ttl_ms = millis(self.origin.relevant_for());
        let (id, record) = (self.id.clone(), self.origin.record.clone());
        self.client.withdraw(&self.origin.keys, CancelRequest { id, ttl_ms, record }).await
    }
}
