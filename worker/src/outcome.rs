//! Outcomes of a job: answered, retried, dead-lettered; with and without a waiting caller.

use std::time::Duration;

use redcall_common::depth::data_fits;
use redcall_common::error::{Code, WireError};
use redcall_common::frame::FrameType;
use redcall_common::keys::QueueKeys;
use redcall_common::limits::Limits;
use redcall_common::request::{DecodedRequest, ReplyTo};
use redcall_common::settings::{Backoff, OnWorkerLoss, Retries};
use redcall_common::status::StatusEnd;
use redcall_common::time::millis;
use redcall_store::{EndedCall, Outcome, Settlement, SideEffect};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::failure::{self, NextStep};
use crate::handler::{HandlerError, HandlerResult};
use crate::job::Job;
use crate::service;

/// Longest message in a request's history, bytes: up to twenty of them are stored with it.
const MAX_MESSAGE: usize = 1 << 10;

/// The longest retry delay that a handler may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

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
        Ok(data) => match fits(&data, depth) {
            Ok(()) => answered(job, &data, seq),
            Err(error) => failed(job, error, seq),
        },
        Err(error) => failed(job, error, seq),
    }
}

/// Refuses an answer that nests too deep: readers of many languages fail on such.
///
/// # Errors
///
/// `too_large`.
pub(crate) fn fits(data: &RawValue, depth: usize) -> Result<(), HandlerError> {
    if data_fits(data.get().as_bytes(), depth) {
        return Ok(());
    }
    let message =
        format!("the frame of the answer would nest deeper than {depth} levels (limits.depth)");
    Err(HandlerError::with_code(Code::TooLarge, message))
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
    if fits(&notice, job.shared.limits.depth).is_ok() {
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
    let restartable = [Code::Cancelled, Code::DeadlineExceeded, Code::Overloaded, Code::WorkerLost];
    let ttl = (!restartable.contains(&code)).then_some(idempotency_ttl);
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
pub(crate) fn status(
    ttl_ms: Option<u64>,
    attempt: u32,
    error: Option<&WireError>,
) -> Vec<SideEffect> {
    let end = ttl_ms.map(|ttl_ms| {
        let error = error.map(|error| (error.code, error.message.clone()));
        SideEffect::Status(StatusEnd { ttl_ms, attempt, error })
    });
    end.into_iter().collect()
}

/// Returns the response key and its final frame, if a caller waits.
pub(crate) fn answer(
    reply: Option<ReplyTo>,
    frame: impl Fn(&str) -> String,
) -> Option<(ReplyTo, String)> {
    reply.map(|reply| {
        let frame = frame(&reply.response_key);
        (reply, frame)
    })
}

/// Returns the end of a request's call, if it has an idempotency key.
pub(crate) fn call(
    request: &DecodedRequest,
    queue: &QueueKeys,
    keep: Option<Duration>,
    frame: impl Fn(&str) -> String,
) -> Option<EndedCall> {
    let (digest, frame) = (request.call()?, frame(&queue.response(&request.id)));
    Some(EndedCall { digest, keep, frame })
}

/// Returns the entry of a failed run in the history.
pub(crate) fn attempt_entry(job: &Job, error: &WireError) -> String {
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

/// Returns the delay before the next attempt; `None` if there is none.
fn retry_in(job: &Job, code: Code, after: Option<Duration>) -> Option<Duration> {
    let retries = &job.rules.retries;
    let by_request = job.request.max_attempts.map(|attempts| attempts.saturating_sub(1));
    let further = u64::from(retries.max).min(by_request.unwrap_or(u64::MAX));
    let is_wanted = after.is_some() || retries.on.contains(&code);
    if !is_wanted || u64::from(job.record.fails) >= further {
        return None;
    }
    let drawn = || longest_pause(retries, job.record.fails).mul_f64(random());
    let delay = after.map_or_else(drawn, |after| after.min(MAX_RETRY_AFTER));
    // A retry that would start after the caller's deadline is not scheduled.
    let in_time = job.context().remaining().is_none_or(|left| delay < left);
    in_time.then_some(delay)
}

/// Returns the longest delay after this many earlier failures.
fn longest_pause(retries: &Retries, fails: u32) -> Duration {
    match retries.backoff {
        Backoff::Constant => retries.base,
        Backoff::Exponential => {
            let doubled = 2_u32.checked_pow(fails).and_then(|by| retries.base.checked_mul(by));
            doubled.map_or(retries.cap, |pause| pause.min(retries.cap))
        }
    }
}

/// Returns a number from 0 to 1. Each hasher of the standard library has its own keys: random
/// enough to spread load.
fn random() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let bits = std::hash::RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_cap() {
        let retries = Retries {
            base: Duration::from_millis(100),
            cap: Duration::from_millis(350),
            ..Retries::default()
        };
        let pauses = [0, 1, 2, 40].map(|fails| longest_pause(&retries, fails).as_millis());
        assert_eq!(pauses, [100, 200, 350, 350]);
        let constant = Retries { backoff: Backoff::Constant, ..retries };
        assert_eq!(longest_pause(&constant, 9), constant.base);
    }

    #[test]
    fn jitter_is_full() {
        let drawn: Vec<f64> = (0..1000).map(|_| random()).collect();
        assert!(drawn.iter().all(|x| (0.0..1.0).contains(x)));
        let low = drawn.iter().filter(|x| **x < 0.5).count();
        assert!((350..650).contains(&low), "{low}");
    }
}
