//! `place.lua`: place requests that are more than a plain push.

use std::time::Duration;

use redis::{Cmd, Value};

use super::reply::read;
use crate::error::StoreError;
use crate::link::Link;
use crate::script::PLACE;
use redcall_common::keys::QueueKeys;
use redcall_common::request::ReplyTo;

/// How long the record of an idempotency key lives while its call runs, ms: 30 days.
const RUNNING_TTL_MS: u64 = 30 * 24 * 3_600_000;

/// A request, and what the script has to know of it.
#[derive(Debug)]
pub struct Placement {
    /// Whether somebody waits now, so that it must not be queued where no worker listens.
    pub waited: bool,
    /// The request's id.
    pub id: String,
    /// The envelope.
    pub envelope: String,
    /// When it is due, Redis ms; 0 for now.
    pub due_ms: u64,
    /// Where its answer goes; `None` if nobody wants one.
    pub reply: Option<ReplyTo>,
    /// A `pending` frame to be left at the response key: for requests that are fetched.
    pub pending: Option<String>,
    /// The idempotency key, if it has one.
    pub idempotency: Option<Idempotency>,
    /// For how long its states are kept; `None`: none are.
    pub tracking: Option<StatusTracking>,
}

/// For how long the states of a request are kept.
#[derive(Debug, Clone, Copy)]
pub struct StatusTracking {
    /// Until it starts, ms.
    pub pending_ms: u64,
    /// Once it has ended, ms.
    pub kept_ms: u64,
}

/// Under which idempotency key a request is placed.
#[derive(Debug)]
pub struct Idempotency {
    /// Its record: [`QueueKeys::idem`].
    pub record: String,
    /// [`redcall_common::digest::of_data`] of the request's data.
    pub digest: String,
    /// When the caller stops caring, Redis ms; 0 for never.
    pub deadline_ms: u64,
}

/// What became of a placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It is queued, or waits until it is due.
    Queued,
    /// It has joined the call of the same key that runs already: the id of that request.
    Deduplicated(String),
    /// The call of the same key has ended, and its end lies at the own response key: the id of the
    /// request that ran.
    Replayed(String),
    /// Not placed: the same key was used with other data.
    Conflict,
    /// Not placed: 100 callers wait for the call of this key already.
    TooManyWaiters,
    /// Not placed: no worker listens, and somebody waits.
    NoWorkers,
    /// Not placed: queue and schedule hold as much as they may.
    Full,
    /// Not placed: it wants an answer, and the answers kept on the queue are at their bound.
    AnswersFull,
}

impl Placement {
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
        let mut call = PLACE.call(&all);
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

/// Adds a key; its index in the script, 0 if there is none.
fn add<'a>(all: &mut Vec<&'a str>, key: Option<&'a str>) -> usize {
    all.extend(key);
    key.map_or(0, |_| all.len())
}

impl Link {
    /// Places each of `placements`, in order and in one write; one outcome each. `max_length` 0
    /// means no cap.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] any of them may have been placed. Placing one again under the
    /// same id does nothing a second time. Within the outcomes: Redis has refused that one.
    pub async fn place(
        &self,
        keys: &QueueKeys,
        max_length: u64,
        placements: &[Placement],
        within: Duration,
    ) -> Result<Vec<Result<Placed, StoreError>>, StoreError> {
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
        let call = |placement: &Placement| (&*PLACE, placement.call(keys, &own, max_length));
        let values = self.run_all(&placements.iter().map(call).collect::<Vec<_>>(), within).await?;
        Ok(values.into_iter().map(|value| placed(value?)).collect())
    }
}

/// Reads the script's answer.
pub(super) fn placed(value: Value) -> Result<Placed, StoreError> {
    let (what, id): (String, String) = read("place", value)?;
    Ok(match what.as_str() {
        "queued" => Placed::Queued,
        "deduplicated" => Placed::Deduplicated(id),
        "replayed" => Placed::Replayed(id),
        "conflict" => Placed::Conflict,
        "too_many_waiters" => Placed::TooManyWaiters,
        "no_workers" => Placed::NoWorkers,
        "full" => Placed::Full,
        "answers_full" => Placed::AnswersFull,
        _ => return Err(StoreError::Unexpected("place")),
    })
}
