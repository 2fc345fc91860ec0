//! Outcomes of a job: answered, retried, dead-lettered; with and without a waiting caller.

pub(crate) mod failure;
mod retry_delay;

use std::time::Duration;

use redcall_common::auth::Refusal;
use redcall_common::decode::{Rejected, call_of};
use redcall_common::depth::data_fits;
use redcall_common::error::{Code, WireError};
use redcall_common::frame::{Deferral, Frame, FrameType};
use redcall_common::frame_head::FrameHead;
use redcall_common::keys::QueueKeys;
use redcall_common::limits::Limits;
use redcall_common::request::{DecodedRequest, ReplyTo};
use redcall_common::result_kind::NONCE;
use redcall_common::settings::OnWorkerLoss;
use redcall_common::status::{MAX_MESSAGE, StatusEnd};
use redcall_common::time::millis;
use redcall_store::{
    DeferredRecord, DeferredRun, EndedCall, Leased, Outcome, Session as _, Settlement, SideEffect,
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use self::failure::NextStep;
use self::retry_delay::retry_in;
use crate::handler::bounds::check_depth;
use crate::handler::error::{HandlerError, HandlerResult};
use crate::run::job::Job;
use crate::run::service;

/// The only message that an unauthorised caller gets. docs/reference/protocol.md lists it.
const UNAUTHORIZED: &str = "the request has no signature that its worker accepts";

/// Longest nonce, bytes: it is repeated in the record and in the event.
const MAX_NONCE: usize = 256;

/// One run in the history of a request.
#[derive(Serialize)]
struct AttemptEntry<'a> {
    attempt: u32,
    worker: &'a str,
    started_at: u64,
    ended_at: u64,
    code: Code,
    message: &'a str,
}

/// The data of the progress frame about a failed attempt.
#[derive(Serialize)]
struct RetryNotice<'a> {
    attempt: u32,
    error: &'a WireError,
    retry_in_ms: u64,
}

/// Returns the outcome of `job` for the handler's result; `seq` is the number of the final frame.
pub(crate) fn of_result(job: &Job, result: HandlerResult, seq: u64) -> Outcome {
    let Some(run) = job.run.get() else { return of_job(job, result, seq) };
    let (result, change) = service::split_result(run, result, job.shared.limits.depth);
    let mut outcome = of_job(job, result, seq);
    // An answer that is too large is an error: the state stays as it was.
    outcome.side_effects.extend(change.filter(|_| outcome.code.is_none()));
    outcome
}

fn of_job(job: &Job, result: HandlerResult, seq: u64) -> Outcome {
    let Limits { answer: limit, depth, .. } = job.shared.limits;
    match result {
        Ok(data) if data.get().len() > limit => {
            let size = data.get().len();
            let message =
                format!("the answer has {size} bytes, the limit is {limit} (limits.answer)");
            failed(job, HandlerError::with_code(Code::TooLarge, message), seq)
        }
        Ok(data) => match check_depth(data.get().as_bytes(), depth) {
            Ok(()) => answered(job, &data, seq),
            Err(error) => failed(job, error, seq),
        },
        Err(error) => failed(job, error, seq),
    }
}

fn answered(job: &Job, data: &RawValue, seq: u64) -> Outcome {
    let request = &job.request;
    let frame = |key: &str| job.head(key).data(FrameType::Result, seq, Some(data));
    let settlement = match request.reply.clone() {
        Some(reply) => Settlement::Answer { frame: frame(&reply.response_key), reply },
        None => Settlement::Done,
    };
    let mut outcome = Outcome::new(&request.id, settlement);
    outcome.call = call(request, &job.keys.queue, Some(job.shared.idempotency_ttl), frame);
    outcome.side_effects = status(request.status_ttl_ms, job.attempt(), None);
    outcome
}

fn failed(job: &Job, failure: HandlerError, seq: u64) -> Outcome {
    let HandlerError { mut error, cause, retry_after } = failure;
    let cause = cause.as_deref();
    error.attempt = Some(job.attempt());
    let error = error.bounded(&job.shared.limits);
    if error.code == Code::WorkerLost {
        return crashed(job, error, cause, seq);
    }
    let run = attempt_entry(job, &error);
    let request = &job.request;
    if let Some(delay) = retry_in(job, error.code, retry_after) {
        failure::log_run(job, &error, cause, NextStep::Retried(delay));
        let notice = notice(job, &error, delay);
        let notice = request.reply.clone().zip(notice).map(|(reply, data)| {
            let head = job.head(&reply.response_key);
            let frame = head.data(FrameType::Progress, seq, Some(&data));
            (reply, frame)
        });
        let settlement = Settlement::Retry { delay, notice };
        return Outcome { run, ..Outcome::new(&request.id, settlement) };
    }
    // A job with retries also becomes a dead letter when its caller gets the error.
    let wanted = error.code != Code::Cancelled;
    let dead_letter = wanted && (request.reply.is_none() || job.rules.retries.max > 0);
    failure::log_run(
        job,
        &error,
        cause,
        if dead_letter { NextStep::DeadLettered } else { NextStep::Answered },
    );
    let unanswered = Unanswered { error, attempt: job.attempt(), seq, dead_letter };
    Outcome { run, ..give_up(request, &job.keys.queue, unanswered, job.shared.idempotency_ttl) }
}

/// Returns the data of the frame between two attempts; without the data of the error if the frame
/// would nest too deep with them.
fn notice(job: &Job, error: &WireError, delay: Duration) -> Option<Box<RawValue>> {
    let (attempt, retry_in_ms) = (job.attempt(), millis(delay));
    let notice = to_raw_value(&RetryNotice { attempt, error, retry_in_ms }).ok()?;
    if data_fits(notice.get().as_bytes(), job.shared.limits.depth) {
        return Some(notice);
    }
    let error = &WireError { data: None, ..error.clone() };
    to_raw_value(&RetryNotice { attempt, error, retry_in_ms }).ok()
}

/// Returns the outcome of a run whose process died, which counts as a crash.
fn crashed(job: &Job, error: WireError, cause: Option<&str>, seq: u64) -> Outcome {
    let (request, rules) = (&job.request, &job.rules);
    let run = attempt_entry(job, &error);
    let may_rerun = rules.on_worker_loss == OnWorkerLoss::Rerun;
    if may_rerun && job.record.crashes + 1 < rules.max_crashes {
        failure::log_run(job, &error, cause, NextStep::Rerun);
        let settlement = Settlement::Rerun { attempt: job.attempt() };
        return Outcome { run, ..Outcome::new(&request.id, settlement) };
    }
    failure::log_run(job, &error, cause, NextStep::DeadLettered);
    let unanswered = Unanswered { error, attempt: job.attempt(), seq, dead_letter: true };
    Outcome { run, ..give_up(request, &job.keys.queue, unanswered, job.shared.idempotency_ttl) }
}

/// Returns the outcome of a deferred `job`; `seq` is the number of the `deferred` frame.
pub(crate) fn deferred(
    job: &Job,
    data: &RawValue,
    (digest, timeout, notify): (String, Duration, bool),
    seq: u64,
) -> Outcome {
    let request = &job.request;
    let key = job.keys.queue.response(&request.id);
    let head = job.head(&key);
    let end = |code, message: &str| {
        let error = WireError { attempt: Some(job.attempt()), ..WireError::new(code, message) };
        head.tail(&head.error(seq + 1, &error)).to_owned()
    };
    // About the time that the script will note: it measures from its own start.
    let until_ms = job.shared.link.now_ms().saturating_add(millis(timeout));
    let deferral = Deferral { notify: Some(notify), until_ms: Some(until_ms) };
    let frame = head.deferred(seq, deferral, data);
    let mut record = DeferredRecord {
        digest,
        run: DeferredRun {
            name: request.name.clone(),
            attempt: job.attempt(),
            seq: seq + 1,
            key: head.signer.map(|signer| signer.key().to_owned()),
            call: head.signer.and_then(|signer| signer.call()).map(str::to_owned),
            nonce: request.headers.get(NONCE).filter(|it| it.len() <= MAX_NONCE).cloned(),
            notify,
        },
        reply: request.reply.clone(),
        late: end(Code::DeadlineExceeded, "the deferred answer was not settled in time"),
        gone: end(Code::Cancelled, "the call was cancelled"),
        dead_letter: request.reply.is_none() || job.rules.retries.max > 0,
        status_ttl_ms: request.status_ttl_ms,
        seal: None,
    };
    record.seal = head
        .signer
        .map(|signer| signer.seal_deferred(&record.covered(&job.keys.queue, &request.id).parts()));
    let notice = request.reply.clone().map(|reply| {
        // A frame stays fetchable for as long as the answer may take.
        let ttl_ms = reply.ttl_ms.saturating_add(millis(timeout));
        (ReplyTo { ttl_ms, ..reply }, frame.clone())
    });
    let keep = Some(job.shared.idempotency_ttl);
    let call = request.call().map(|digest| EndedCall { digest, keep, frame });
    let settlement = Settlement::Deferred { timeout, record: Box::new(record), notice };
    Outcome { call, ..Outcome::new(&request.id, settlement) }
}

/// Returns the outcome of a request that has joined a running call, which pushes its result to this
/// request's response key as well.
pub(crate) fn joined(request: &DecodedRequest) -> Outcome {
    Outcome::new(&request.id, Settlement::Done)
}

/// Returns the outcome of a request that joined a call which ended with `tail`.
pub(crate) fn of_ended_call(request: &DecodedRequest, tail: &str) -> Outcome {
    let side_effects = status_of(request, tail);
    let settlement = match request.reply.clone() {
        Some(reply) => {
            let (id, key) = (&request.id, &reply.response_key);
            let frame = format!(r#"{{"id":"{id}","response_key":"{key}"{tail}"#);
            Settlement::Answer { reply, frame }
        }
        None => Settlement::Done,
    };
    Outcome { side_effects, ..Outcome::new(&request.id, settlement) }
}

/// Returns the final status of a request that joined a call which ended with `tail`.
fn status_of(request: &DecodedRequest, tail: &str) -> Vec<SideEffect> {
    if request.status_ttl_ms.is_none() {
        return Vec::new();
    }
    let end = Frame::parse(format!(r#"{{"id":"{}"{tail}"#, request.id).as_bytes());
    let (attempt, error) = end.map_or((0, None), |end| (end.attempt, end.error));
    status(request.status_ttl_ms, attempt, error.as_deref())
}

/// The end of a request without an answer.
pub(crate) struct Unanswered {
    pub(crate) error: WireError,
    /// Number of the run in which the request ended, or would have ended.
    pub(crate) attempt: u32,
    /// `seq` of the final frame.
    pub(crate) seq: u64,
    /// `true` if the request becomes a dead letter.
    pub(crate) dead_letter: bool,
}

/// Logs and ends a request that is refused before its run. It becomes a dead letter if
/// `dead_letter` is set, or if its caller waits for no answer. `cause` is only logged.
pub(crate) fn refuse(
    request: &DecodedRequest,
    queue: &QueueKeys,
    attempt: u32,
    (error, cause): (WireError, Option<&str>),
    dead_letter: bool,
    idempotency_ttl: Duration,
) -> Outcome {
    failure::log_refused(&request.id, Some(&request.name), queue.name(), attempt, &error, cause);
    let unanswered =
        Unanswered { error, attempt, seq: 1, dead_letter: dead_letter || request.reply.is_none() };
    give_up(request, queue, unanswered, idempotency_ttl)
}

/// Returns the settlement of a signed request that is refused before it starts. It may be a copy:
/// the signature does not cover the time that a request has waited.
pub(crate) fn as_refusal(settlement: Settlement, code: Code, reason: &str) -> Settlement {
    let reason = reason.to_owned();
    match settlement {
        Settlement::Answer { reply, frame } => {
            Settlement::Refuse { code, reason, answer: Some((reply, frame)), dead_letter: false }
        }
        Settlement::DeadLetter { answer, .. } => {
            Settlement::Refuse { code, reason, answer, dead_letter: true }
        }
        other => other,
    }
}

/// Returns the outcome of a request that is not authorised to run.
pub(crate) fn unauthorized(
    request: &DecodedRequest,
    queue: &QueueKeys,
    refusal: Refusal,
    attempt: u32,
) -> Outcome {
    // An unknown key name is not logged: it may be anything, also a secret.
    let key = request.auth.as_ref().filter(|_| refusal != Refusal::UnknownKey);
    let key = key.map(|signed| signed.token.key.as_str());
    let (id, name, queue_name) = (&request.id, &request.name, queue.name());
    let code = Code::Unauthorized;
    tracing::warn!(
        id,
        name,
        queue = queue_name,
        attempt,
        %code,
        key,
        why = %refusal,
        "not run: unauthorized"
    );
    let error = WireError::new(Code::Unauthorized, UNAUTHORIZED);
    // Never signed: a copy gets the same answer as any other request.
    let frame = |response_key: &str| {
        let id = &request.id;
        FrameHead { id, response_key, attempt, signer: None }.error(1, &error)
    };
    let (call, side_effects) = match refusal {
        // A copy must not end the call of the original request.
        Refusal::Replayed => (None, Vec::new()),
        // The next caller starts the call again.
        _ => (
            call(request, queue, None, frame),
            status(request.status_ttl_ms, attempt, Some(&error)),
        ),
    };
    let (code, reason) = (error.code, error.message.clone());
    let answer = answer(request.reply.clone(), frame);
    let settlement = Settlement::Refuse { code, reason, answer, dead_letter: false };
    Outcome { call, code: Some(code), side_effects, ..Outcome::new(&request.id, settlement) }
}

/// Returns the outcome of an element that is not a valid request.
pub(crate) fn reject(
    leased: &Leased,
    rejected: Rejected,
    queue: &QueueKeys,
    attempt: u32,
) -> Outcome {
    let Rejected { error, reply, dead_letter, status_ttl_ms } = rejected;
    failure::log_refused(&leased.id, None, queue.name(), attempt, &error, None);
    let status_ttl_ms = status_ttl_ms.map(|ttl| u64::from(ttl.get()));
    let side_effects = status(status_ttl_ms, attempt, Some(&error));
    let (code, reason) = (error.code, error.message.clone());
    let frame = |response_key: &str| {
        FrameHead { id: &leased.id, response_key, attempt, signer: None }.error(1, &error)
    };
    // A client may have treated it as a valid request, and stored that it runs.
    let ended =
        |digest| EndedCall { digest, keep: None, frame: frame(&queue.response(&leased.id)) };
    let call = call_of(&leased.raw).map(ended);
    // It may have the id of another request.
    let settlement = Settlement::Refuse { code, reason, answer: answer(reply, frame), dead_letter };
    Outcome { call, code: Some(code), side_effects, ..Outcome::new(&leased.id, settlement) }
}

/// Returns the outcome of a request whose job is not mapped.
pub(crate) fn unknown(request: DecodedRequest, queue: &QueueKeys, attempt: u32) -> Outcome {
    let message = format!("no live worker handles the job `{}`", request.name);
    let error = WireError::new(Code::UnknownJob, message);
    let frame = |key: &str| request.head(key, attempt).error(1, &error);
    let call = call(&request, queue, None, frame);
    let answer = answer(request.reply.clone(), frame);
    let side_effects = status(request.status_ttl_ms, attempt, Some(&error));
    let settlement = Settlement::Unknown { name: request.name, answer };
    Outcome { call, code: Some(error.code), side_effects, ..Outcome::new(&request.id, settlement) }
}

/// Returns the outcome of a job that a stopping worker ends.
pub(crate) fn returned(job: &Job) -> Outcome {
    let attempt = job.attempt();
    match job.rules.on_worker_loss {
        OnWorkerLoss::Rerun => Outcome::new(&job.request.id, Settlement::Rerun { attempt }),
        OnWorkerLoss::Fail => {
            let message =
                "the worker stopped while the job ran, which must not run twice (on_worker_loss)";
            let error = WireError::new(Code::WorkerLost, message);
            // The last number that a frame can have: frames in flight are not counted.
            let seq = job.seq.try_lock().map_or(1, |seq| *seq + 1);
            failure::log_run(job, &error, None, NextStep::DeadLettered);
            let run = attempt_entry(job, &error);
            let unanswered = Unanswered { error, attempt, seq, dead_letter: true };
            Outcome {
                run,
                ..give_up(&job.request, &job.keys.queue, unanswered, job.shared.idempotency_ttl)
            }
        }
    }
}

/// Returns the outcome of a request that ends without an answer.
pub(crate) fn give_up(
    request: &DecodedRequest,
    queue: &QueueKeys,
    unanswered: Unanswered,
    idempotency_ttl: Duration,
) -> Outcome {
    let Unanswered { error, attempt, seq, dead_letter } = unanswered;
    let code = error.code;
    let frame = |key: &str| request.head(key, attempt).error(seq, &error);
    let answer = answer(request.reply.clone(), frame);
    let side_effects = status(request.status_ttl_ms, attempt, Some(&error));
    // After these codes, the idempotency key may start the call again.
    let ttl = (!code.is_retryable()).then_some(idempotency_ttl);
    let call = call(request, queue, ttl, frame);
    let settlement = match answer {
        // A cancelled job without a caller does not become a dead letter.
        None if code == Code::Cancelled => Settlement::Done,
        answer if dead_letter => {
            Settlement::DeadLetter { code, reason: error.message.clone(), answer }
        }
        Some((reply, frame)) => Settlement::Answer { reply, frame },
        None => Settlement::DeadLetter { code, reason: error.message.clone(), answer: None },
    };
    Outcome { call, code: Some(code), side_effects, ..Outcome::new(&request.id, settlement) }
}

/// Returns the final status of a request, if its status is tracked.
fn status(ttl_ms: Option<u64>, attempt: u32, error: Option<&WireError>) -> Vec<SideEffect> {
    let end = ttl_ms.map(|ttl_ms| {
        let error = error.map(|error| (error.code, error.message.clone()));
        SideEffect::Status(StatusEnd { ttl_ms, attempt, error })
    });
    end.into_iter().collect()
}

/// Returns the response key and its final frame, if a caller waits.
fn answer(reply: Option<ReplyTo>, frame: impl Fn(&str) -> String) -> Option<(ReplyTo, String)> {
    reply.map(|reply| {
        let frame = frame(&reply.response_key);
        (reply, frame)
    })
}

/// Returns the end of a request's call, if it has an idempotency key.
fn call(
    request: &DecodedRequest,
    queue: &QueueKeys,
    keep: Option<Duration>,
    frame: impl Fn(&str) -> String,
) -> Option<EndedCall> {
    let (digest, frame) = (request.call()?, frame(&queue.response(&request.id)));
    Some(EndedCall { digest, keep, frame })
}

/// Returns the entry of a failed run in the history.
fn attempt_entry(job: &Job, error: &WireError) -> String {
    let message = &error.message[..error.message.floor_char_boundary(MAX_MESSAGE)];
    let run = AttemptEntry {
        attempt: job.attempt(),
        worker: &job.shared.worker,
        started_at: job.started_at,
        ended_at: job.shared.link.now_ms(),
        code: error.code,
        message,
    };
    // Strings and numbers only: nothing here can fail to serialise.
    serde_json::to_string(&run).unwrap_or_default()
}
