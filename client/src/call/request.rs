//! The builder of a request. Sending is in `send.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redcall_common::auth::{Keyring, LONGEST_MS};
use redcall_common::context::Context;
use redcall_common::digest;
use redcall_common::durability::Durability;
use redcall_common::error::Code;
use redcall_common::frame::FrameType;
use redcall_common::frame_head::FrameHead;
use redcall_common::limits::TTL_RANGE_MS;
use redcall_common::name::{is_idempotency_key, is_job_name, new_id};
use redcall_common::request::{Envelope, EnvelopeTemplate, ReplyTo, default_response_ttl_ms};
use redcall_store::{EnqueueExt, Idempotency, Session as _, StatusTracking};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;

use crate::engine::client::Client;
use crate::engine::deadline::deadline_in;
use crate::engine::route::Route;
use crate::engine::sender::Payload;
use crate::engine::withdrawal::Origin;
use crate::error::CallError;
use crate::names::queue_problem;
use redcall_common::time::{millis, unix_ms};

/// Maximum delay of a request.
const DELAY_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A request to be sent, created by [`Client::request`].
///
/// ```
/// # redcall_testkit::example::with_client(async |client| {
/// use std::time::Duration;
///
/// let request = client
///     .request("echo")
///     .data("hello")
///     .queue("default")
///     .timeout(Duration::from_secs(5))
///     .max_attempts(2)
///     .header("tenant", "acme");
/// assert_eq!(request.wait().await?.json::<String>()?, "hello");
/// # Ok(()) });
/// ```
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    pub(crate) client: Client,
    pub(super) name: String,
    data: Result<Box<RawValue>, serde_json::Error>,
    pub(super) queue: Option<String>,
    pub(super) timeout: Option<Duration>,
    pub(super) when: When,
    pub(super) idempotency_key: Option<String>,
    pub(super) max_attempts: Option<u32>,
    durability: Option<Durability>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) expires_in: Option<Duration>,
    pub(super) tracking: Option<Duration>,
    pub(super) job_timeout: Option<Duration>,
    pub(super) start_within: Option<Duration>,
    pub(super) worker_required: bool,
}

/// When a request is due.
#[derive(Clone, Copy)]
pub(super) enum When {
    Now,
    In(Duration),
    /// Redis time, ms since the epoch.
    At(u64),
}

impl When {
    pub(super) fn is_now(self) -> bool {
        matches!(self, Self::Now)
    }
}

/// How a request is delivered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Without an answer.
    FireAndForget,
    /// The caller waits for the answer or streams frames.
    Wait,
    /// The answer is fetched later.
    Submit,
}

/// A validated request.
pub(crate) struct Prepared {
    pub(crate) id: String,
    pub(crate) route: Arc<Route>,
    pub(crate) response_key: String,
    /// When the caller stops waiting: for the answer or, if fire and forget, for the enqueue.
    pub(crate) deadline: Instant,
    /// Context of the handler that makes the call; `None` outside of a handler.
    pub(crate) context: Option<Context>,
    /// When the request is due, Redis ms.
    due_ms: u64,
    /// Time until it is due; zero unless delayed.
    delay: Duration,
    /// Time that the job has once it is due.
    budget: Option<Duration>,
    /// Digest that names the call under its idempotency key, and the key of its record.
    pub(crate) call: Option<String>,
    record: Option<String>,
    /// How long its status is kept; `None` if it is not tracked.
    status_ttl: Option<Duration>,
}

impl Prepared {
    /// Returns the data needed to cancel the request.
    pub(crate) fn origin(&self) -> Origin {
        let keys = self.route.keys.clone();
        let ends_in = self.budget.map(|budget| self.delay.saturating_add(budget));
        Origin { keys, record: self.record.clone(), deadline: ends_in.map(deadline_in) }
    }
}

impl Client {
    /// Returns a builder for a request with more options than name and data.
    pub fn request(&self, name: &str) -> RequestBuilder {
        RequestBuilder::new(self.clone(), name)
    }
}

impl RequestBuilder {
    fn new(client: Client, name: &str) -> Self {
        Self {
            client,
            name: name.to_owned(),
            data: Ok(RawValue::NULL.to_owned()),
            queue: None,
            timeout: None,
            when: When::Now,
            idempotency_key: None,
            max_attempts: None,
            durability: None,
            headers: BTreeMap::new(),
            expires_in: None,
            tracking: None,
            job_timeout: None,
            start_within: None,
            worker_required: false,
        }
    }

    /// Sets the handler's data; `null` by default. Sending returns the error if `data` cannot be
    /// serialized.
    pub fn data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = to_raw_value(data);
        self
    }

    /// Sets the queue; by default the queue of the job in the settings, else `default`.
    pub fn queue(mut self, queue: &str) -> Self {
        self.queue = Some(queue.to_owned());
        self
    }

    /// Sets the caller's timeout; by default the setting `client.timeout`. The timeout travels with
    /// the request: a job that has not started by then never does. [`RequestBuilder::send`] limits
    /// the job only if this is called.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Delays the request by `delay`, at most 100 years. Its timeout begins when it is due, so a
    /// waiting caller waits for the delay plus the timeout. Replaces [`RequestBuilder::at`].
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use std::time::Duration;
    ///
    /// let later = client.request("echo").data("hello").delay(Duration::from_secs(3600));
    /// let receipt = later.send().await?;
    /// assert_eq!(client.inspect().queue(&receipt.queue).await?.scheduled, 1);
    /// # Ok(()) });
    /// ```
    pub fn delay(mut self, delay: Duration) -> Self {
        self.when = When::In(delay);
        self
    }

    /// Schedules the request for `time` by the clock of Redis; a time in the past means now.
    /// Otherwise like [`RequestBuilder::delay`].
    pub fn at(self, time: SystemTime) -> Self {
        self.at_ms(unix_ms(time))
    }

    /// Like [`RequestBuilder::at`], in ms since the epoch.
    pub fn at_ms(mut self, redis_ms: u64) -> Self {
        self.when = When::At(redis_ms);
        self
    }

    /// Sets the idempotency key (1 to 256 characters). Requests with the same key, name and queue
    /// are one call: while it runs, later requests join it and get its answer; afterwards they get
    /// the recorded answer, for the worker's setting `idempotency_ttl`. A request with other data
    /// is rejected with `conflict`. After [`CallError::Unknown`], repeat the call under the same
    /// key.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// let order = || client.request("echo").data("order 7").idempotency_key("order-7");
    /// let first = order().send().await?;
    /// let second = order().send().await?; // joins the first call: the job runs once
    /// assert!(second.deduplicated);
    /// assert_eq!(first.id, second.id);
    /// # Ok(()) });
    /// ```
    pub fn idempotency_key(mut self, key: &str) -> Self {
        self.idempotency_key = Some(key.to_owned());
        self
    }

    /// Sets the maximum number of attempts. It can lower the limit of the job's mapping, not raise
    /// it.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Sets the durability level that [`RequestBuilder::send`] and [`RequestBuilder::submit`] wait
    /// for; by default the setting `redis.durability`. The receipt holds the level that was
    /// confirmed within the timeout. A call that waits for the answer needs none: the answer proves
    /// that the job ran.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use std::time::Duration;
    ///
    /// use redcall_client::Durability;
    ///
    /// let request = client.request("echo").data("hello").durability(Durability::Replicated);
    /// let receipt = request.timeout(Duration::from_millis(100)).send().await?;
    /// if receipt.durability < Durability::Replicated {
    ///     println!("queued, but not confirmed by a replica in time");
    /// }
    /// # assert_eq!(receipt.durability, Durability::Memory); // there is none
    /// # Ok(()) });
    /// ```
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    pub(crate) fn level(&self) -> Durability {
        self.durability.unwrap_or(self.client.inner.durability)
    }

    /// Adds a header. The handler receives it unchanged.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Replaces all headers.
    pub fn headers(mut self, headers: BTreeMap<String, String>) -> Self {
        self.headers = headers;
        self
    }

    pub(crate) fn check(&self, delivery: Delivery) -> Result<Prepared, CallError> {
        let inner = &self.client.inner;
        let invalid = |message: String| CallError::rejected(Code::InvalidRequest, message);
        if !is_job_name(&self.name) {
            let message = "a job name has 1 to 128 characters and no spaces".to_owned();
            return Err(invalid(message));
        }
        let queue = self.queue.as_deref().unwrap_or_else(|| inner.queue_of(&self.name));
        if let Some(message) = queue_problem(queue) {
            return Err(invalid(message));
        }
        if self.idempotency_key.as_deref().is_some_and(|key| !is_idempotency_key(key)) {
            return Err(invalid("an idempotency key has 1 to 256 characters".to_owned()));
        }
        let now_ms = inner.link.now_ms();
        let delay = match self.when {
            When::Now => Duration::ZERO,
            When::In(delay) => delay,
            When::At(at_ms) => Duration::from_millis(at_ms.saturating_sub(now_ms)),
        };
        if delay > DELAY_MAX {
            return Err(invalid("a request can be delayed by at most 100 years".to_owned()));
        }
        if self.expires_in.is_some_and(|validity| millis(validity) > LONGEST_MS) {
            return Err(invalid("a signature is valid for at most 7 days".to_owned()));
        }
        let status_ttl = self.tracking.or_else(|| inner.status_ttl_of(&self.name));
        if status_ttl.is_some_and(|kept| !TTL_RANGE_MS.contains(&millis(kept))) {
            return Err(invalid("a status can be kept for 1 s to 7 days".to_owned()));
        }
        let context = Context::current();
        let (ends_in, budget) = self.time(delivery, delay, context.as_ref())?;
        let (id, route) = (new_id(), inner.route(queue));
        let response_key = route.keys.response(&id);
        let key = self.idempotency_key.as_deref();
        let signed = inner.keyring.as_ref().and_then(Keyring::sign_with);
        let call = key.map(|key| digest::of_call(&self.name, key, signed));
        let record = call.as_deref().map(|call| route.keys.idem(call));
        let (deadline, due_ms) = (deadline_in(ends_in), now_ms + millis(delay));
        Ok(Prepared {
            id,
            route,
            response_key,
            deadline,
            context,
            due_ms,
            delay,
            budget,
            call,
            record,
            status_ttl,
        })
    }

    /// Returns the caller's remaining time and, counted from when it is due, the job's.
    fn time(
        &self,
        delivery: Delivery,
        delay: Duration,
        context: Option<&Context>,
    ) -> Result<(Duration, Option<Duration>), CallError> {
        if context.is_some_and(|context| context.cancel.is_cancelled()) {
            return Err(CallError::cancelled());
        }
        let own = self.timeout.unwrap_or(self.client.inner.timeout);
        let left = context.and_then(Context::remaining);
        let ends_in = match delivery {
            Delivery::FireAndForget | Delivery::Submit => own,
            Delivery::Wait => delay.saturating_add(own),
        };
        let ends_in = left.map_or(ends_in, |left| left.min(ends_in));
        // A request that is due after the handler's deadline cannot be awaited.
        let too_late = match delivery {
            Delivery::FireAndForget | Delivery::Submit => Duration::ZERO,
            Delivery::Wait => delay,
        };
        if left.is_some_and(|left| left <= too_late) {
            let message = "the handler that makes the call has no time left";
            return Err(CallError::rejected(Code::DeadlineExceeded, message));
        }
        let budget = match delivery {
            _ if self.job_timeout.is_some() => self.job_timeout,
            // The job outlives its caller: only its own timeout limits it.
            Delivery::FireAndForget | Delivery::Submit => self.timeout,
            Delivery::Wait => Some(ends_in - delay),
        };
        Ok((ends_in, budget))
    }

    /// Returns when its signature expires, Redis ms.
    fn expires_at(&self, prepared: &Prepared) -> u64 {
        let validity_ms = match (self.expires_in, prepared.budget) {
            (Some(validity), _) => millis(validity),
            // Other callers that join the call may have more time than this one.
            (None, Some(budget)) if prepared.record.is_none() => {
                let start = self.start_within.map_or(budget, |start| start.min(budget));
                millis(start).saturating_add(60_000)
            }
            (None, _) => LONGEST_MS,
        };
        prepared.due_ms.saturating_add(validity_ms.min(LONGEST_MS))
    }

    /// Separates the data from the request, which then has none.
    pub(super) fn split_data(mut self) -> (Self, Result<Box<RawValue>, CallError>) {
        let data = std::mem::replace(&mut self.data, Ok(RawValue::NULL.to_owned()));
        (self, data.map_err(CallError::Encode))
    }

    pub(super) fn into_data(self) -> Result<Box<RawValue>, CallError> {
        self.data.map_err(CallError::Encode)
    }

    /// Returns the writer of the envelopes of fire-and-forget requests like this one.
    pub(super) fn template(&self, prepared: &Prepared) -> EnvelopeTemplate {
        let data = RawValue::NULL;
        let mut envelope = Envelope::new(&prepared.id, &self.name, data, prepared.due_ms);
        envelope.budget_ms = prepared.budget.map(millis);
        envelope.start_ms = self.start_within.map(millis);
        envelope.max_attempts = self.max_attempts.map(u64::from);
        envelope.template()
    }

    /// Returns the request as the sender writes it.
    pub(crate) fn payload(
        &self,
        prepared: &Prepared,
        delivery: Delivery,
    ) -> Result<Payload, CallError> {
        let data = self.data.as_ref().map_err(CallError::not_encoded)?;
        let own_channel;
        let (response_key, notify) = match delivery {
            Delivery::FireAndForget => (None, None),
            Delivery::Wait => {
                (Some(prepared.response_key.as_str()), Some(prepared.route.notify.as_str()))
            }
            Delivery::Submit => {
                // A fetch subscribes to the request's own channel, in any process.
                own_channel = prepared.route.keys.notify(&prepared.id);
                (Some(prepared.response_key.as_str()), Some(own_channel.as_str()))
            }
        };
        let inner = &self.client.inner;
        let limits = &inner.limits;
        let mut envelope = Envelope::new(&prepared.id, &self.name, data, prepared.due_ms);
        envelope.response_key = response_key;
        envelope.budget_ms = prepared.budget.map(millis);
        envelope.start_ms = self.start_within.map(millis);
        envelope.status_ttl_ms = prepared.status_ttl.map(millis);
        envelope.max_attempts = self.max_attempts.map(u64::from);
        envelope.notify = notify;
        envelope.idempotency_key = self.idempotency_key.as_deref();
        envelope.headers = &self.headers;
        let token = inner.keyring.as_ref().and_then(|keyring| {
            let queue = prepared.route.keys.name();
            keyring.sign(&envelope.claims(queue, self.expires_at(prepared)))
        });
        envelope.auth = token.as_ref();
        let envelope = envelope.encode();
        if envelope.len() > limits.request {
            return Err(CallError::too_large(envelope.len(), limits.request));
        }
        // A plain push checks for a worker only if the caller waits.
        let needs_check = self.worker_required && delivery != Delivery::Wait;
        let is_more = prepared.record.is_some() || prepared.status_ttl.is_some() || needs_check;
        if prepared.delay.is_zero() && !is_more && delivery != Delivery::Submit {
            return Ok(Payload::Push(envelope));
        }
        let reply = response_key.map(|key| ReplyTo {
            response_key: key.to_owned(),
            ttl_ms: prepared.answer_ttl_ms(delivery),
            notify: notify.map(str::to_owned),
        });
        let (id, response_key) = (&prepared.id, &prepared.response_key);
        let head = FrameHead { id, response_key, attempt: 0, signer: None };
        let pending =
            (delivery == Delivery::Submit).then(|| head.data(FrameType::Pending, 0, None));
        let idempotency = prepared.idempotency(data);
        Ok(Payload::Scripted(Box::new(EnqueueExt {
            waited: delivery == Delivery::Wait || self.worker_required,
            id: prepared.id.clone(),
            envelope,
            due_ms: if prepared.delay.is_zero() { 0 } else { prepared.due_ms },
            reply,
            pending,
            idempotency,
            tracking: prepared.tracking(),
        })))
    }
}

impl Prepared {
    /// Returns the idempotency arguments of the enqueue, if it has a key.
    fn idempotency(&self, data: &RawValue) -> Option<Idempotency> {
        let deadline = |budget| self.due_ms.saturating_add(millis(budget));
        self.record.as_ref().map(|record| Idempotency {
            record: record.clone(),
            digest: digest::of_data(data.get()),
            deadline_ms: self.budget.map_or(0, deadline),
        })
    }

    /// Returns how long its status is kept: `pending_ms` covers the delay and the job's timeout.
    fn tracking(&self) -> Option<StatusTracking> {
        let kept_ms = millis(self.status_ttl?);
        let wait = self.delay.saturating_add(self.budget.unwrap_or_default());
        Some(StatusTracking { pending_ms: kept_ms.saturating_add(millis(wait)), kept_ms })
    }

    /// Returns the TTL of the response key: the delay plus the TTL of any answer. A submitted
    /// request without a timeout gets the maximum.
    fn answer_ttl_ms(&self, delivery: Delivery) -> u64 {
        let ttl_ms = match (delivery, self.budget) {
            (Delivery::Submit, None) => *TTL_RANGE_MS.end(),
            (_, budget) => default_response_ttl_ms(budget.map(millis)),
        };
        ttl_ms + millis(self.delay)
    }
}
