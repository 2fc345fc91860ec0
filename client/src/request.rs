//! Building a request; `send.rs` has the ways to send it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redcall_common::auth::{Keyring, LONGEST_MS};
use redcall_common::context::Context;
use redcall_common::digest;
use redcall_common::durability::Durability;
use redcall_common::error::Code;
use redcall_common::frame::{FrameHead, FrameType};
use redcall_common::name::{is_idempotency_key, is_job_name, is_queue, new_id};
use redcall_common::request::{Envelope, ReplyTo, TTL_RANGE_MS, default_response_ttl_ms};
use redcall_store::{Idempotency, Placement, StatusTracking};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;

use crate::cancel::Origin;
use crate::client::{Client, Route};
use crate::error::CallError;
use crate::sender::Payload;
use redcall_common::time::{millis, unix_ms};

/// The longest time for which a request may be put off.
const LONGEST_DELAY: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A request to be sent: made by [`Client::request`].
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    pub(crate) client: Client,
    name: String,
    data: Result<Box<RawValue>, serde_json::Error>,
    queue: Option<String>,
    timeout: Option<Duration>,
    when: When,
    idempotency_key: Option<String>,
    max_attempts: Option<u32>,
    durability: Option<Durability>,
    headers: BTreeMap<String, String>,
    expires_in: Option<Duration>,
    tracking: Option<Duration>,
}

/// When a request is due.
#[derive(Clone, Copy)]
enum When {
    Now,
    In(Duration),
    /// Redis time, ms.
    At(u64),
}

/// How a request is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Let go.
    FireAndForget,
    /// Waited for, or followed.
    Wait,
    /// Fetched later.
    Submit,
}

/// A request whose form has been checked.
pub(crate) struct Prepared {
    pub(crate) id: String,
    pub(crate) route: Arc<Route>,
    pub(crate) response_key: String,
    /// When the caller stops caring: for the answer, or for the sending of what is let go.
    pub(crate) deadline: Instant,
    /// The surroundings of the handler that makes the call; none outside of one.
    pub(crate) context: Option<Context>,
    /// When the request is due, Redis ms: now for most.
    due_ms: u64,
    /// How long it is until then; zero for most.
    delay: Duration,
    /// How long the job has from then on.
    budget: Option<Duration>,
    /// What names its call, if it has an idempotency key, and the record of that.
    pub(crate) call: Option<String>,
    record: Option<String>,
    /// For how long its status is kept, if it is.
    status_ttl: Option<Duration>,
}

impl Prepared {
    /// What is needed to withdraw it.
    pub(crate) fn origin(&self) -> Origin {
        let keys = self.route.keys.clone();
        let ends_in = self.budget.map(|budget| self.delay.saturating_add(budget));
        Origin { keys, record: self.record.clone(), deadline: ends_in.map(deadline_in) }
    }
}

impl Request {
    pub(crate) fn new(client: Client, name: &str) -> Self {
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

    /// Puts the request off: it is due so long from now, 100 years at most. Its timeout begins
    /// then, and who waits for it waits until then and for the timeout. Takes the place of
    /// [`Request::at`].
    pub fn delay(mut self, delay: Duration) -> Self {
        self.when = When::In(delay);
        self
    }

    /// Puts the request off until `time`, else as [`Request::delay`]. By the clock of Redis; a time
    /// that has passed means now.
    pub fn at(self, time: SystemTime) -> Self {
        self.at_ms(unix_ms(time))
    }

    /// As [`Request::at`], in ms since the epoch.
    pub fn at_ms(mut self, redis_ms: u64) -> Self {
        self.when = When::At(redis_ms);
        self
    }

    /// The same key (1 to 256 characters) of the same name and queue is the same call: while it
    /// runs, further ones join it and get its answer; afterwards they get it from its record for
    /// the worker's setting `idempotency_ttl`. With other data they are refused with `conflict`.
    /// After [`CallError::Unknown`] the call can be made again under the same key.
    pub fn idempotency_key(mut self, key: &str) -> Self {
        self.idempotency_key = Some(key.to_owned());
        self
    }

    /// How many runs of the job at most may fail before it is given up. Lowers what the job's
    /// mapping allows, and never raises it.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// How safe the request has to be before [`Request::send`] or [`Request::submit`] returns; by
    /// default the setting `redis.durability`. The receipt says what was reached within the
    /// timeout. Who waits for the answer needs none: it says that the job was done.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    pub(crate) fn level(&self) -> Durability {
        self.durability.unwrap_or(self.client.inner.durability)
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

    /// How long the request's signature holds from when it is due, 7 days at most: what has not
    /// started by then is `unauthorized`, and its id is remembered for as long. By default a
    /// minute more than its [`Request::timeout`], and 7 days where nothing bounds its time. Without
    /// a key to sign with (`auth.sign_with` of the settings) it says nothing.
    pub fn expires_in(mut self, timeout: Duration) -> Self {
        self.expires_in = Some(timeout);
        self
    }

    /// Has the status of the job kept, so that [`Client::status`] and [`Client::monitor`] tell it:
    /// for so long from its last change on, 1 s to 7 days, and while it runs. It is `Pending` as
    /// soon as the request is queued. By default what the job's mapping in the settings says
    /// (`status`); without either none is kept. It costs some commands more at Redis.
    pub fn track_status(mut self, kept: Duration) -> Self {
        self.tracking = Some(kept);
        self
    }

    pub(crate) fn check(&self, delivery: Delivery) -> Result<Prepared, CallError> {
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
        if self.idempotency_key.as_deref().is_some_and(|key| !is_idempotency_key(key)) {
            return Err(invalid("an idempotency key has 1 to 256 characters".to_owned()));
        }
        let now_ms = inner.link.now_ms();
        let delay = match self.when {
            When::Now => Duration::ZERO,
            When::In(delay) => delay,
            When::At(at_ms) => Duration::from_millis(at_ms.saturating_sub(now_ms)),
        };
        if delay > LONGEST_DELAY {
            return Err(invalid("a request is put off by 100 years at most".to_owned()));
        }
        if self.expires_in.is_some_and(|timeout| millis(timeout) > LONGEST_MS) {
            return Err(invalid("a signature holds for 7 days at most".to_owned()));
        }
        let status_ttl = self.tracking.or_else(|| inner.status_ttl_of(&self.name));
        if status_ttl.is_some_and(|kept| !TTL_RANGE_MS.contains(&millis(kept))) {
            return Err(invalid("a status is kept for 1 s to 7 days".to_owned()));
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

    /// How long the caller cares from now on, and how long the job has from when it is due.
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
        // What is not due before the handler's time is over cannot be waited for.
        let too_late = match delivery {
            Delivery::FireAndForget | Delivery::Submit => Duration::ZERO,
            Delivery::Wait => delay,
        };
        if left.is_some_and(|left| left <= too_late) {
            let message = "the time of the handler that makes the call is over";
            return Err(CallError::rejected(Code::DeadlineExceeded, message));
        }
        let budget = match delivery {
            // The job is nobody's part: it has the time that it is given.
            Delivery::FireAndForget | Delivery::Submit => self.timeout,
            Delivery::Wait => Some(ends_in - delay),
        };
        Ok((ends_in, budget))
    }

    /// When its signature ends, Redis ms.
    fn expires_at(&self, prepared: &Prepared) -> u64 {
        let timeout = match (self.expires_in, prepared.budget) {
            (Some(timeout), _) => millis(timeout),
            // Others who join the call may have more time than this caller.
            (None, Some(budget)) if prepared.record.is_none() => {
                millis(budget).saturating_add(60_000)
            }
            (None, _) => LONGEST_MS,
        };
        prepared.due_ms.saturating_add(timeout.min(LONGEST_MS))
    }

    /// The request as it is handed to the sender.
    pub(crate) fn payload(
        &self,
        prepared: &Prepared,
        delivery: Delivery,
    ) -> Result<Payload, CallError> {
        let data = self
            .data
            .as_ref()
            .map_err(|error| CallError::Encode(serde::ser::Error::custom(error)))?;
        let own_channel;
        let (response_key, notify) = match delivery {
            Delivery::FireAndForget => (None, None),
            Delivery::Wait => {
                (Some(prepared.response_key.as_str()), Some(prepared.route.notify.as_str()))
            }
            Delivery::Submit => {
                // Whoever fetches hears on a channel of the request's own, wherever it runs.
                own_channel = prepared.route.keys.notify(&prepared.id);
                (Some(prepared.response_key.as_str()), Some(own_channel.as_str()))
            }
        };
        let inner = &self.client.inner;
        let limits = &inner.limits;
        let mut envelope = Envelope {
            id: &prepared.id,
            name: &self.name,
            data,
            response_key,
            enqueued_at: prepared.due_ms,
            budget_ms: prepared.budget.map(millis),
            response_ttl_ms: None,
            status_ttl_ms: prepared.status_ttl.map(millis),
            max_attempts: self.max_attempts.map(u64::from),
            notify,
            idempotency_key: self.idempotency_key.as_deref(),
            headers: &self.headers,
            auth: None,
        };
        let token = inner.keyring.as_ref().and_then(|keyring| {
            let queue = prepared.route.keys.name();
            keyring.sign(&envelope.claims(queue, self.expires_at(prepared)))
        });
        envelope.auth = token.as_ref();
        let envelope = envelope.encode();
        if envelope.len() > limits.request {
            let (size, limit) = (envelope.len(), limits.request);
            let message = format!("the request has {size} bytes, the limit is {limit}");
            return Err(CallError::rejected(Code::TooLarge, message));
        }
        let is_more = prepared.record.is_some() || prepared.status_ttl.is_some();
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
        let idempotency = prepared.record.as_ref().map(|record| Idempotency {
            record: record.clone(),
            digest: digest::of_data(data.get()),
            deadline_ms: prepared
                .budget
                .map_or(0, |budget| prepared.due_ms.saturating_add(millis(budget))),
        });
        Ok(Payload::Scripted(Box::new(Placement {
            waited: delivery == Delivery::Wait,
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
    /// How long its states are kept: until it is due, as long as it may wait, and then for their
    /// own time.
    fn tracking(&self) -> Option<StatusTracking> {
        let kept_ms = millis(self.status_ttl?);
        let wait = self.delay.saturating_add(self.budget.unwrap_or_default());
        Some(StatusTracking { pending_ms: kept_ms.saturating_add(millis(wait)), kept_ms })
    }

    /// How long what lies at the response key is kept: until it is due, and then as long as any
    /// answer; what is fetched at no certain time as long as possible.
    fn answer_ttl_ms(&self, delivery: Delivery) -> u64 {
        let ttl_ms = match (delivery, self.budget) {
            (Delivery::Submit, None) => *TTL_RANGE_MS.end(),
            (_, budget) => default_response_ttl_ms(budget.map(millis)),
        };
        ttl_ms + millis(self.delay)
    }
}

/// The instant that is `within` from now; a year, if that is longer than anybody waits.
pub(crate) fn deadline_in(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(Duration::from_secs(365 * 86_400))
}

pub(crate) fn left_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
