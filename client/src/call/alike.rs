//! Batches of fire-and-forget requests that differ only in their data: checked once per part, and
//! written one after the other into one buffer.

use std::sync::Arc;

use redcall_common::durability::Durability;
use redcall_common::name::new_id;
use redcall_common::request::EnvelopeTemplate;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::call::request::{Delivery, RequestBuilder};
use crate::engine::client::Inner;
use crate::engine::route::{HandedIn, Route};
use crate::engine::sender::{BatchFailures, Command, Envelopes, OutgoingBatch, SendClaim};
use crate::error::CallError;
use crate::response::Receipt;

/// Maximum number of requests in one part.
const PART_MAX: usize = 256;
/// A part with this many bytes is complete.
const PART_BYTES: usize = 1 << 20;

/// The requests of one batch.
pub(super) struct AlikeRequests {
    inner: Arc<Inner>,
    /// Requests that are not handed over yet.
    open: Option<Part>,
    sent: Vec<SentPart>,
    /// One per request, in order: the id of a request in a part, or its error.
    entries: Vec<Result<String, CallError>>,
}

/// Requests that are alike, until they are handed over.
struct Part {
    /// The first of them, without its data.
    like: RequestBuilder,
    route: Arc<Route>,
    deadline: Instant,
    template: EnvelopeTemplate,
    envelopes: Envelopes,
}

/// A part that was handed to the sender.
struct SentPart {
    route: Arc<Route>,
    count: usize,
    deadline: Instant,
    send_claim: SendClaim,
    confirmed: oneshot::Receiver<BatchFailures>,
}

impl AlikeRequests {
    pub(super) fn new(inner: &Arc<Inner>) -> Self {
        Self { inner: inner.clone(), open: None, sent: Vec::new(), entries: Vec::new() }
    }

    /// Adds a request, unless it needs more than a push: then returns it. Hands complete parts to
    /// the sender.
    pub(super) async fn add(&mut self, request: RequestBuilder) -> Option<Box<RequestBuilder>> {
        let is_alike = self.open.as_ref().is_some_and(|part| request.is_like(&part.like));
        let data = if is_alike {
            request.into_data()
        } else if request.needs_only_a_push() {
            self.flush().await;
            self.begin(request)
        } else {
            return Some(Box::new(request));
        };
        let limit = self.inner.limits.request;
        let entry = match (data, &mut self.open) {
            (Ok(data), Some(part)) => part.add(&data, limit),
            (Err(error), _) => Err(error),
            (Ok(_), None) => Err(CallError::stopped()), // a part was begun
        };
        self.entries.push(entry);
        if self.open.as_ref().is_some_and(Part::is_complete) {
            self.flush().await;
        }
        None
    }

    /// Checks a request and begins a part with it. Returns its data.
    fn begin(&mut self, request: RequestBuilder) -> Result<Box<RawValue>, CallError> {
        let prepared = request.check(Delivery::FireAndForget)?;
        let template = request.template(&prepared);
        let (route, deadline) = (prepared.route, prepared.deadline);
        let (like, data) = request.split_data();
        let envelopes = Envelopes::default();
        self.open = Some(Part { like, route, deadline, template, envelopes });
        data
    }

    /// Hands the open part to the sender.
    pub(super) async fn flush(&mut self) {
        let Some(Part { route, deadline, envelopes, .. }) = self.open.take() else { return };
        let (done, confirmed) = oneshot::channel();
        let (count, send_claim) = (envelopes.len(), SendClaim::default());
        let (own, claim) = (route.clone(), send_claim.clone());
        self.sent.push(SentPart { route: own, count, deadline, send_claim: claim, confirmed });
        if !route.is_ready(false)
            && let Err(reason) = self.inner.prepare(&route, false, deadline).await
        {
            let failed = (0..count).map(|at| (at, reason.clone().into()));
            let _ = done.send(failed.collect());
            return;
        }
        let mut route = HandedIn::new(route);
        route.hand_in();
        let batch = OutgoingBatch { route, envelopes, done, send_claim };
        // If it is not handed over, `done` is dropped with it.
        let _ = timeout_at(deadline, self.inner.commands.send(Command::EnqueueBatch(batch))).await;
    }

    /// Waits for the confirmations. Returns one result per request, in order.
    pub(super) async fn finish(self) -> Vec<Result<Receipt, CallError>> {
        let mut receipts = Vec::with_capacity(self.entries.len());
        let mut entries = self.entries.into_iter();
        for mut part in self.sent {
            let failed = part.finish().await;
            let queue = part.route.keys.name();
            let (mut failed, whole) = match failed {
                Ok(failed) => (failed.into_iter().peekable(), None),
                Err(error) => (Vec::new().into_iter().peekable(), Some(error)),
            };
            let mut at = 0;
            while at < part.count
                && let Some(entry) = entries.next()
            {
                receipts.push(entry.and_then(|id| {
                    at += 1;
                    if let Some(error) = whole {
                        return Err(error());
                    }
                    match failed.next_if(|(failed, _)| failed + 1 == at) {
                        Some((_, error)) => Err(error),
                        None => Ok(receipt(id, queue)),
                    }
                }));
            }
        }
        receipts.extend(entries.map(|entry| entry.and_then(|_| Err(CallError::stopped()))));
        receipts
    }
}

fn receipt(id: String, queue: &str) -> Receipt {
    let (queue, durability) = (queue.to_owned(), Durability::Memory);
    Receipt { id, queue, durability, deduplicated: false }
}

impl Part {
    /// Writes a request with this data; returns its id.
    fn add(&mut self, data: &RawValue, limit: usize) -> Result<String, CallError> {
        let (id, template) = (new_id(), &self.template);
        let written = self.envelopes.push(limit, |out| template.write(&id, data, out));
        written.map_err(|size| CallError::too_large(size, limit)).map(|()| id)
    }

    fn is_complete(&self) -> bool {
        self.envelopes.len() >= PART_MAX || self.envelopes.size() >= PART_BYTES
    }
}

impl SentPart {
    /// Waits for the confirmation. Returns the requests that failed, or the error of all of them.
    async fn finish(&mut self) -> Result<BatchFailures, fn() -> CallError> {
        match timeout_at(self.deadline, &mut self.confirmed).await {
            Ok(Ok(failed)) => Ok(failed),
            Ok(Err(_)) if !self.send_claim.give_up() => Err(CallError::reply_lost),
            Ok(Err(_)) if Instant::now() < self.deadline => Err(CallError::stopped),
            Ok(Err(_)) => Err(CallError::not_sent),
            Err(_) if self.send_claim.give_up() => Err(CallError::not_sent),
            // Being written; its confirmation may have just arrived.
            Err(_) => self.confirmed.try_recv().map_err(|_| CallError::reply_lost as _),
        }
    }
}

impl RequestBuilder {
    /// Returns `true` if its options are those of `other`, which needs only a push.
    fn is_like(&self, other: &Self) -> bool {
        self.name == other.name
            && Arc::ptr_eq(&self.client.inner, &other.client.inner)
            && self.queue == other.queue
            && self.timeout == other.timeout
            && self.job_timeout == other.job_timeout
            && self.start_within == other.start_within
            && self.max_attempts == other.max_attempts
            && self.has_no_extras()
    }

    fn needs_only_a_push(&self) -> bool {
        let inner = &self.client.inner;
        let is_signed = inner.keyring.as_ref().is_some_and(|ring| ring.sign_with().is_some());
        !is_signed && self.has_no_extras() && inner.status_ttl_of(&self.name).is_none()
    }

    fn has_no_extras(&self) -> bool {
        self.headers.is_empty()
            && self.idempotency_key.is_none()
            && self.when.is_now()
            && self.tracking.is_none()
            && self.expires_in.is_none()
            && !self.worker_required
            && self.level() == Durability::Memory
    }
}
