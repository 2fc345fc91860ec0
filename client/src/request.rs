//! Building a request; `send.rs` has the ways to send it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redcall_common::error::Code;
use redcall_common::name::{is_job_name, is_queue, new_id};
use redcall_common::request::Envelope;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;

use crate::client::{Client, Route};
use crate::error::CallError;

/// A request to be sent: made by [`Client::request`].
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    pub(crate) client: Client,
    name: String,
    data: Result<Box<RawValue>, serde_json::Error>,
    queue: Option<String>,
    pub(crate) timeout: Option<Duration>,
    headers: BTreeMap<String, String>,
}

/// A request whose form has been checked.
pub(crate) struct Ready {
    pub(crate) id: String,
    pub(crate) route: Arc<Route>,
    pub(crate) response_key: String,
    /// When the caller stops caring.
    pub(crate) deadline: Instant,
}

/// What an envelope says about its answer.
pub(crate) struct Answering<'a> {
    pub(crate) response_key: Option<&'a str>,
    pub(crate) notify: Option<&'a str>,
    pub(crate) budget: Option<Duration>,
}

impl Request {
    pub(crate) fn new(client: Client, name: &str) -> Self {
        Self {
            client,
            name: name.to_owned(),
            data: Ok(RawValue::NULL.to_owned()),
            queue: None,
            timeout: None,
            headers: BTreeMap::new(),
        }
    }

    /// What the handler gets; `null` if never set. An error of `data` shows when it is sent.
    pub fn data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = to_raw_value(data);
        self
    }

    /// The queue; by default the one of the job's mapping in the settings, else `default`.
    pub fn queue(mut self, queue: &str) -> Self {
        self.queue = Some(queue.to_owned());
        self
    }

    /// How long the caller cares; by default the setting `client.timeout`. It travels with the
    /// request: what has not started by then does not start. [`Request::send`] sets no such
    /// limit on the job unless this is called.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Passed to the handler as it is.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// All headers at once.
    pub fn headers(mut self, headers: BTreeMap<String, String>) -> Self {
        self.headers = headers;
        self
    }

    pub(crate) fn within(&self) -> Duration {
        self.timeout.unwrap_or(self.client.inner.timeout)
    }

    pub(crate) fn check(&self) -> Result<Ready, CallError> {
        let inner = &self.client.inner;
        let invalid = |message: String| CallError::rejected(Code::InvalidRequest, message);
        if !is_job_name(&self.name) {
            let message = "a job's name has 1 to 128 characters, no spaces".to_owned();
            return Err(invalid(message));
        }
        let queue = self.queue.as_deref().unwrap_or_else(|| inner.queue_of(&self.name));
        if !is_queue(queue) {
            return Err(invalid(format!("queue `{queue}` is not 1 to 64 of [A-Za-z0-9_.-]")));
        }
        let (id, route) = (new_id(), inner.route(queue));
        let response_key = route.keys.response(&id);
        let deadline = deadline_in(self.within());
        Ok(Ready { id, route, response_key, deadline })
    }

    pub(crate) fn envelope(
        &self,
        ready: &Ready,
        answering: &Answering<'_>,
    ) -> Result<String, CallError> {
        let data = self
            .data
            .as_ref()
            .map_err(|error| CallError::Encode(serde::ser::Error::custom(error)))?;
        let inner = &self.client.inner;
        let envelope = Envelope {
            id: &ready.id,
            name: &self.name,
            data,
            response_key: answering.response_key,
            enqueued_at: inner.link.now_ms(),
            budget_ms: answering.budget.map(millis),
            response_ttl_ms: None,
            max_attempts: None,
            notify: answering.notify,
            idempotency_key: None,
            headers: &self.headers,
        };
        let envelope = envelope.encode();
        if envelope.len() > inner.limits.request {
            let (size, limit) = (envelope.len(), inner.limits.request);
            let message = format!("the request has {size} bytes, the limit is {limit}");
            return Err(CallError::rejected(Code::TooLarge, message));
        }
        Ok(envelope)
    }
}

/// The instant that is `within` from now; a year, if that is longer than anybody waits.
pub(crate) fn deadline_in(within: Duration) -> Instant {
    Instant::now() + within.min(Duration::from_secs(365 * 86_400))
}

pub(crate) fn left_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
