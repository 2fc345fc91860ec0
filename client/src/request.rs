//! Building a request, and the ways to send it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redcall_common::error::Code;
use redcall_common::frame::{Frame, FrameHead, FrameType};
use redcall_common::name::{is_job_name, is_queue, new_id};
use redcall_common::request::{Envelope, TTL_RANGE_MS, default_response_ttl_ms};
use redcall_common::store::Submission;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::client::{Client, Route};
use crate::error::CallError;
use crate::response::{Durability, Receipt, Response};
use crate::sender::{Caller, Command, Outgoing};
use crate::stream::FrameStream;
use crate::ticket::Ticket;

/// A request to be sent: made by [`Client::request`].
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    client: Client,
    name: String,
    data: Result<Box<RawValue>, serde_json::Error>,
    queue: Option<String>,
    timeout: Option<Duration>,
    headers: BTreeMap<String, String>,
}

/// A request whose form has been checked.
struct Ready {
    id: String,
    route: Arc<Route>,
    response_key: String,
    /// When the caller stops caring.
    deadline: Instant,
}

/// What an envelope says about its answer.
struct Answering<'a> {
    response_key: Option<&'a str>,
    notify: Option<&'a str>,
    budget: Option<Duration>,
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

    /// Queues the request and lets go.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub async fn send(self) -> Result<Receipt, CallError> {
        let ready = self.check()?;
        let answering = Answering { response_key: None, notify: None, budget: self.timeout };
        let envelope = self.envelope(&ready, &answering)?;
        let inner = &self.client.inner;
        inner.announce_queue(&ready.route, self.within()).await?;
        let (done, confirmed) = oneshot::channel();
        let sent = Arc::new(AtomicBool::new(false));
        let caller = Caller::Forgets { done, sent: sent.clone() };
        let outgoing = Outgoing { keys: ready.route.keys.clone(), envelope, caller };
        let confirming = async {
            inner.hand_in(Command::Enqueue(outgoing)).await?;
            confirmed.await.map_err(|_| closed())?
        };
        match timeout_at(ready.deadline, confirming).await {
            Ok(done) => done?,
            Err(_) if sent.load(Ordering::Acquire) => return Err(CallError::TimedOut),
            Err(_) => return Err(CallError::not_sent()),
        }
        let queue = ready.route.keys.name().to_owned();
        Ok(Receipt { id: ready.id, queue, durability: Durability::Memory })
    }

    /// Queues the request and waits for its answer.
    ///
    /// # Errors
    ///
    /// As [`Client::call_and_wait`].
    pub async fn wait(self) -> Result<Response, CallError> {
        let ready = self.check()?;
        let envelope = self.waited_envelope(&ready)?;
        let inner = &self.client.inner;
        inner.subscribe(&ready.route, self.within()).await?;
        let (guard, answer) = inner.pending.wait_for(&ready.id, &ready.response_key, false);
        let waiting = async {
            inner.hand_in(Command::Enqueue(self.outgoing(&ready, envelope))).await?;
            answer.await.map_err(|_| closed())?
        };
        let ended = timeout_at(ready.deadline, waiting).await;
        let frame = match ended {
            Ok(ended) => ended?,
            Err(_) if !guard.was_sent() => return Err(CallError::not_sent()),
            Err(_) => self.client.last_look(&ready.id, &ready.response_key).await?,
        };
        inner.forget(&ready.route.keys, &ready.response_key);
        Response::from_frame(frame, ready.response_key)
    }

    /// Queues the request and follows its frames to the end.
    ///
    /// # Errors
    ///
    /// Only what shows before the request is handed over; the rest comes as the stream's last
    /// item.
    pub async fn stream(self) -> Result<FrameStream, CallError> {
        let ready = self.check()?;
        let envelope = self.waited_envelope(&ready)?;
        let inner = &self.client.inner;
        inner.subscribe(&ready.route, self.within()).await?;
        let (guard, frames) = inner.pending.follow(&ready.id, &ready.response_key);
        inner.hand_in(Command::Enqueue(self.outgoing(&ready, envelope))).await?;
        let Ready { route, response_key, deadline, .. } = ready;
        Ok(FrameStream::new(self.client, route, response_key, deadline, guard, frames))
    }

    /// Queues the request; its answer is fetched later, here or in another process.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub async fn submit(self) -> Result<Ticket, CallError> {
        let ready = self.check()?;
        let keys = &ready.route.keys;
        // Whoever fetches hears on a channel of the request's own, wherever it runs.
        let notify = keys.notify(&ready.id);
        let response_key = Some(ready.response_key.as_str());
        let answering = Answering { response_key, notify: Some(&notify), budget: self.timeout };
        let envelope = self.envelope(&ready, &answering)?;
        let inner = &self.client.inner;
        inner.announce_queue(&ready.route, self.within()).await?;
        let head = FrameHead { id: &ready.id, response_key: &ready.response_key, attempt: 0 };
        let ttl_ms = self
            .timeout
            .map_or(*TTL_RANGE_MS.end(), |budget| default_response_ttl_ms(Some(millis(budget))));
        let pending = head.data(FrameType::Pending, 0, None);
        let response_key = ready.response_key;
        let submission =
            Submission { response_key: response_key.clone(), envelope, pending, ttl_ms };
        let submitting = inner.link.submit(
            keys,
            inner.limits.max_length,
            &submission,
            self.timeout.unwrap_or(inner.timeout),
        );
        if !submitting.await? {
            return Err(CallError::rejected(
                Code::Overloaded,
                "the queue is full; try again later",
            ));
        }
        Ok(Ticket { client: self.client, id: ready.id, response_key })
    }

    fn within(&self) -> Duration {
        self.timeout.unwrap_or(self.client.inner.timeout)
    }

    fn check(&self) -> Result<Ready, CallError> {
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
        let deadline = Instant::now() + self.within().min(Duration::from_secs(365 * 86_400));
        Ok(Ready { id, route, response_key, deadline })
    }

    fn waited_envelope(&self, ready: &Ready) -> Result<String, CallError> {
        let answering = Answering {
            response_key: Some(&ready.response_key),
            notify: Some(&ready.route.notify),
            budget: Some(self.within()),
        };
        self.envelope(ready, &answering)
    }

    fn envelope(&self, ready: &Ready, answering: &Answering<'_>) -> Result<String, CallError> {
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
            notify: answering.notify,
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

    fn outgoing(&self, ready: &Ready, envelope: String) -> Outgoing {
        let until = Instant::now() + self.client.inner.no_workers_grace.min(self.within());
        let caller = Caller::Waits { id: ready.id.clone(), until };
        Outgoing { keys: ready.route.keys.clone(), envelope, caller }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn closed() -> CallError {
    CallError::rejected(Code::Internal, "the client's runtime has shut down")
}

impl Client {
    /// The wait is over: one look at the key itself, in case the announcement was lost.
    pub(crate) async fn last_look(&self, id: &str, key: &str) -> Result<Frame, CallError> {
        const LOOK: Duration = Duration::from_millis(200);
        let keys = [key.to_owned()];
        let looking = self.inner.link.last_frames(&keys, LOOK);
        if let Ok(Ok(frames)) = timeout(LOOK, looking).await
            && let Some(frame) = frames.into_iter().flatten().next()
            && let Some(frame) = crate::replies::parse(&frame)
            && frame.kind.ends()
            && frame.id == id
        {
            return Ok(frame);
        }
        Err(CallError::TimedOut)
    }
}

impl crate::client::Inner {
    async fn hand_in(&self, command: Command) -> Result<(), CallError> {
        self.commands.send(command).await.map_err(|_| closed())
    }

    /// Has a response key deleted that has been read; if that fails, its TTL does it.
    pub(crate) fn forget(&self, keys: &Arc<redcall_common::store::keys::QueueKeys>, key: &str) {
        let _ = self.commands.try_send(Command::Forget(keys.clone(), key.to_owned()));
    }

    /// Has the first frames at a response key dropped, which its reader has.
    pub(crate) fn trim(&self, key: &str, count: usize) {
        let _ = self.commands.try_send(Command::Trim(key.to_owned(), count));
    }
}
