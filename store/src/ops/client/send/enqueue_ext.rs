//! `enqueue_ext.lua`: enqueue requests that need more than a plain push.

use std::time::Duration;

use redis::{Cmd, Value};

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::read;
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;
use redcall_common::request::ReplyTo;

script! {
    /// Enqueue one request that needs more than a plain push.
    ENQUEUE_EXT = "client/enqueue_ext", Refused, of Client;
    with UNDO, ROOM, KEPT, STATUS, SCAN, JOINED, CANCELLED_CALL;
    read |value, _| result(value).map(Reading::of)
}

/// The TTL of an idempotency key's record while its call runs, ms: 30 days.
const RUNNING_TTL_MS: u64 = 30 * 24 * 3_600_000;

/// A request, with the parts that the script needs.
#[derive(Debug)]
pub struct EnqueueExt {
    /// `true` if a caller waits now: the request is then refused unless a live worker serves the
    /// queue.
    pub waited: bool,
    /// The request's id.
    pub id: String,
    /// The envelope.
    pub envelope: String,
    /// When it is due, Redis ms; 0 for now.
    pub due_ms: u64,
    /// Where its answer goes; `None` if no caller wants one.
    pub reply: Option<ReplyTo>,
    /// A `pending` frame for the response key of a request whose answer is fetched.
    pub pending: Option<String>,
    /// The idempotency key, if it has one.
    pub idempotency: Option<Idempotency>,
    /// How long its states are kept; `None`: not at all.
    pub tracking: Option<StatusTracking>,
}

/// How long the states of a request are kept.
#[derive(Debug, Clone, Copy)]
pub struct StatusTracking {
    /// Before it starts, ms.
    pub pending_ms: u64,
    /// After it has ended, ms.
    pub kept_ms: u64,
}

/// The idempotency key of a request.
#[derive(Debug)]
pub struct Idempotency {
    /// Its record: [`QueueKeys::idem`].
    pub record: String,
    /// [`redcall_common::digest::of_data`] of the request's data.
    pub digest: String,
    /// The caller's deadline, Redis ms; 0 for none.
    pub deadline_ms: u64,
}

/// The result of an extended enqueue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnqueueExtResult {
    /// It is queued or scheduled.
    Queued,
    /// It has joined the running call of the same key: the id of that request.
    Deduplicated(String),
    /// The call of the same key has ended, and its final frame is at this request's response key:
    /// the id of the request that ran.
    Replayed(String),
    /// Refused: the same key was used with other data.
    Conflict,
    /// Refused: 100 callers already wait for the call of this key.
    TooManyWaiters,
    /// Refused: a caller waits, and no live worker serves the queue.
    NoWorkers,
    /// Refused: queue and schedule are full.
    Full,
    /// Refused: it wants an answer, and the answers kept on the queue are at their limit.
    AnswersFull,
}

impl EnqueueExt {
    fn call(&self, keys: &QueueKeys, own: &[String; 10], max_length: u64) -> Cmd {
        let response = match &self.reply {
            Some(reply) => reply.response_key.clone(),
            None => keys.response(&self.id),
        };
        let [queue, workers, schedule, scheduled, control, cancelled, limited, parked, ..] = own;
        let [.., pending, answers_full] = own;
        let mut all = vec![queue.as_str(), workers, schedule, scheduled, &response, control];
        all.extend([cancelled.as_str(), limited, parked, pending, answers_full]);
        let idempotency = self.idempotency.as_ref();
        let record = add(&mut all, idempotency.map(|one| one.record.as_str()));
        let channel = self.reply.as_ref().and_then(|reply| reply.notify.as_deref());
        let channel = add(&mut all, channel);
        let status = self.tracking.map(|_| keys.status(&self.id));
        let status = add(&mut all, status.as_deref());
        let mut call = ENQUEUE_EXT.call(&all);
        call.arg(max_length).arg(if self.waited { "1" } else { "0" });
        call.arg(&self.id).arg(&self.envelope).arg(self.due_ms);
        call.arg(self.pending.as_deref().unwrap_or_default());
        call.arg(self.reply.as_ref().map_or(0, |reply| reply.ttl_ms));
        call.arg(idempotency.map_or("", |one| &one.digest));
        call.arg(idempotency.map_or(0, |one| one.deadline_ms));
        call.arg(RUNNING_TTL_MS).arg(record).arg(channel).arg(status);
        call.arg(self.tracking.map_or(0, |kept| kept.pending_ms));
        call.arg(self.tracking.map_or(0, |kept| kept.kept_ms));
        call
    }
}

/// Adds a key. Returns its index in the script, 0 if there is none.
fn add<'a>(all: &mut Vec<&'a str>, key: Option<&'a str>) -> usize {
    all.extend(key);
    key.map_or(0, |_| all.len())
}

impl Connection {
    pub(crate) async fn enqueue_ext(
        &self,
        keys: &QueueKeys,
        max_length: u64,
        requests: &[EnqueueExt],
        timeout: Duration,
    ) -> Result<Vec<Result<EnqueueExtResult, StoreError>>, StoreError> {
        let own = [
            keys.queue(),
            keys.workers(),
            keys.schedule(),
            keys.scheduled(),
            keys.control(),
            keys.cancelled(),
            keys.limited_names(),
            keys.parked_names(),
            keys.deferred_ids(),
            keys.answers_full(),
        ];
        let call = |request: &EnqueueExt| (&*ENQUEUE_EXT, request.call(keys, &own, max_length));
        let values = self.run_all(&requests.iter().map(call).collect::<Vec<_>>(), timeout).await?;
        Ok(values.into_iter().map(|value| result(value?)).collect())
    }
}

/// Reads the script's reply.
pub(crate) fn result(value: Value) -> Result<EnqueueExtResult, StoreError> {
    let (what, id): (String, String) = read("enqueue_ext", value)?;
    Ok(match what.as_str() {
        "queued" => EnqueueExtResult::Queued,
        "deduplicated" => EnqueueExtResult::Deduplicated(id),
        "replayed" => EnqueueExtResult::Replayed(id),
        "conflict" => EnqueueExtResult::Conflict,
        "too_many_waiters" => EnqueueExtResult::TooManyWaiters,
        "no_workers" => EnqueueExtResult::NoWorkers,
        "full" => EnqueueExtResult::Full,
        "answers_full" => EnqueueExtResult::AnswersFull,
        _ => return Err(StoreError::Unexpected("enqueue_ext")),
    })
}
