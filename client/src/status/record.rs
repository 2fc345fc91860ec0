//! The status of a job: references to jobs, and reading their records.
//!
//! `monitor.rs` follows a status to its end.

use redcall_common::error::Code;
use redcall_common::name::is_id;
use redcall_common::status::JobStatus;
use redcall_store::{AnswerOps as _, States};
use tokio::time::{Instant, timeout_at};

use crate::call::ticket::Ticket;
use crate::engine::client::Client;
use crate::engine::deadline::{deadline_in, left_until};
use crate::error::CallError;
use crate::names::{check_id, check_queue};
use crate::response::Receipt;

/// Maximum number of queues searched in one round trip.
const QUEUES_MAX: usize = 256;

/// A reference to a job, by its id and queue.
///
/// Created from a [`Ticket`], a [`Receipt`], a pair of queue and id, a response key, or an id
/// alone. An id alone is searched in all queues, as [`Client::cancel`] does.
#[derive(Debug, Clone, Copy)]
pub struct JobRef<'a>(Named<'a>);

#[derive(Debug, Clone, Copy)]
enum Named<'a> {
    /// An id, or a response key.
    Text(&'a str),
    InQueue {
        queue: &'a str,
        id: &'a str,
    },
}

impl<'a> From<&'a str> for JobRef<'a> {
    fn from(text: &'a str) -> Self {
        Self(Named::Text(text))
    }
}

impl<'a> From<&'a String> for JobRef<'a> {
    fn from(text: &'a String) -> Self {
        Self(Named::Text(text))
    }
}

impl<'a> From<(&'a str, &'a str)> for JobRef<'a> {
    fn from((queue, id): (&'a str, &'a str)) -> Self {
        Self(Named::InQueue { queue, id })
    }
}

impl<'a> From<&'a Receipt> for JobRef<'a> {
    fn from(receipt: &'a Receipt) -> Self {
        Self(Named::InQueue { queue: &receipt.queue, id: &receipt.id })
    }
}

impl<'a> From<&'a Ticket> for JobRef<'a> {
    fn from(ticket: &'a Ticket) -> Self {
        Self(Named::InQueue { queue: ticket.origin.keys.name(), id: &ticket.id })
    }
}

impl Client {
    /// Returns the status of a job, if it is tracked:
    /// [`crate::RequestBuilder::track_status`]. Ends within the setting `client.timeout`. Cancel
    /// safe.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use std::time::Duration;
    ///
    /// use redcall_client::JobState;
    ///
    /// let request = client.request("echo").data("model 7").track_status(Duration::from_secs(60));
    /// let ticket = request.submit().await?;
    /// ticket.wait().await?;
    /// let status = client.status(&ticket.id).await?; // in any process
    /// assert_eq!(status.state, JobState::Success);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// `not_found` if no status is kept: the job is not tracked, its status has expired, or there
    /// is no such job. A job that was pushed without this client, or is tracked only by its
    /// worker's settings, has no status before it starts or ends. `invalid_request` for an invalid
    /// id, queue or response key; `unavailable` if Redis does not answer.
    pub async fn status<'a>(&self, job: impl Into<JobRef<'a>>) -> Result<JobStatus, CallError> {
        let mut states = self.status_history(job).await?;
        states.pop().ok_or_else(not_found)
    }

    /// Returns all states kept of a job, at most 64, the oldest first; see [`Client::status`].
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use std::time::Duration;
    ///
    /// let request = client.request("echo").data("model 7").track_status(Duration::from_secs(60));
    /// let ticket = request.submit().await?;
    /// ticket.wait().await?;
    /// let states = client.status_history(&ticket).await?;
    /// let states: Vec<_> = states.iter().map(|status| status.state.as_str()).collect();
    /// assert_eq!(states, ["Pending", "Processing", "Success"]);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Client::status`].
    pub async fn status_history<'a>(
        &self,
        job: impl Into<JobRef<'a>>,
    ) -> Result<Vec<JobStatus>, CallError> {
        let deadline = deadline_in(self.inner.timeout);
        let key = self.record_of(job.into(), deadline).await?;
        let states = self.states_at(&key, deadline).await?.states;
        if states.is_empty() {
            return Err(not_found());
        }
        Ok(states.into_iter().map(|(_, state)| state).collect())
    }

    /// Returns the key of the record of a job's states.
    pub(crate) async fn record_of(
        &self,
        job: JobRef<'_>,
        deadline: Instant,
    ) -> Result<String, CallError> {
        let keys = &self.inner.keys;
        let (queue, id) = match job.0 {
            Named::InQueue { queue, id } => (queue, id),
            Named::Text(id) if is_id(id) => return self.find(id, deadline).await,
            Named::Text(key) => keys.parse_response(key).ok_or_else(|| {
                let message = format!("`{key}` is neither a valid request id nor a response key");
                CallError::refused(Code::InvalidRequest, message)
            })?,
        };
        check_id(id)?;
        check_queue(queue)?;
        Ok(keys.of(queue).status(id))
    }

    /// Searches the record of `id`: first in the queues that Redcall's programs have noted, then in
    /// those whose keys are found.
    async fn find(&self, id: &str, deadline: Instant) -> Result<String, CallError> {
        let inspector = &self.inner.inspector;
        let finding = async {
            let noted = inspector.queue_names().await.map_err(CallError::unanswered)?;
            if let Some(key) = self.find_in(&noted, id, deadline).await? {
                return Ok(key);
            }
            let others = inspector.other_queue_names(&noted).await;
            let others = others.map_err(CallError::unanswered)?;
            self.find_in(&others, id, deadline).await?.ok_or_else(not_found)
        };
        timeout_at(deadline, finding).await.unwrap_or_else(|_| Err(CallError::not_in_time()))
    }

    /// Searches the record of `id` in these queues.
    async fn find_in(
        &self,
        queues: &[String],
        id: &str,
        deadline: Instant,
    ) -> Result<Option<String>, CallError> {
        for queues in queues.chunks(QUEUES_MAX) {
            let keys = queues.iter().map(|queue| self.inner.keys.of(queue).status(id));
            let mut keys: Vec<String> = keys.collect();
            let found = self.inner.reads.first_that_exists(&keys, left_until(deadline)).await;
            if let Some(at) = found.map_err(CallError::unanswered)? {
                return Ok(Some(keys.swap_remove(at)));
            }
        }
        Ok(None)
    }

    /// Reads the record `key`.
    pub(crate) async fn states_at(
        &self,
        key: &str,
        deadline: Instant,
    ) -> Result<States, CallError> {
        let reading = self.inner.reads.states(key, left_until(deadline));
        let read = timeout_at(deadline, reading).await;
        read.map_err(|_| CallError::not_in_time())?.map_err(CallError::unanswered)
    }
}

impl Ticket {
    /// Returns the status of the request.
    ///
    /// # Errors
    ///
    /// As [`Client::status`].
    pub async fn status(&self) -> Result<JobStatus, CallError> {
        self.client.status(self).await
    }

    /// Returns all states kept of the request, as [`Client::status_history`].
    ///
    /// # Errors
    ///
    /// As [`Client::status`].
    pub async fn history(&self) -> Result<Vec<JobStatus>, CallError> {
        self.client.status_history(self).await
    }
}

pub(crate) fn not_found() -> CallError {
    let message = "no status of this job is kept: it is not tracked, has expired or is not \
                   written yet, or there is no such job";
    CallError::refused(Code::NotFound, message)
}
