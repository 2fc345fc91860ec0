//! All outcomes of a job: answered, tried again, given up; with and without somebody who waits.

use std::time::Duration;

use redcall_common::decode::data_fits;
use redcall_common::error::{Code, WireError};
use redcall_common::frame::FrameType;
use redcall_common::keys::QueueKeys;
use redcall_common::limits::Limits;
use redcall_common::request::{ReplyTo, Request as Wire};
use redcall_common::settings::{Backoff, OnWorkerLoss, Retries};
use redcall_common::status::StatusEnd;
use redcall_common::time::millis;
use redcall_store::{EndedCall, Extra, Outcome, Settlement};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::failure::{self, Next};
use crate::handler::{Ending, HandlerError};
use crate::job::Job;
use crate::service;

/// Longest message in a request's history, bytes: up to twenty of them lie beside it.
const MAX_REMEMBERED: usize = 1 << 10;

/// The longest pause that a handler may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 60 * 60);

/// One run, as the history keeps it.
#[derive(Serialize)]
struct Run<'a> {
    attempt: u32,
    worker: &'a str,
    started_at: u64,
    ended_at: u64,
    code: Code,
    message: &'a str,
}

/// What who follows hears of an attempt that failed.
#[derive(Serialize)]
struct Notice<'a> {
    attempt: u32,
    error: &'a WireError,
    retry_in_ms: u64,
}

/// What becomes of `job` after its handler has ended so; `seq` is that of the ending frame.
pub(crate) fn outcome(job: &Job, ending: Ending, seq: u64) -> Outcome {
    let Some(run) = job.run.get() else { return of_job(job, ending, seq) };
    let (ending, change) = service::ending(run, ending, job.shared.limits.depth);
    let mut outcome = of_job(job, ending, seq);
    // Too large an answer is an error after all: the state stays as it was.
    outcome.extras.extend(change.filter(|_| outcome.code.is_none()));
    outcome
}

fn of_job(job: &Job, ending: Ending, seq: u64) -> Outcome {
    let Limits { answer: limit, depth, .. } = job.shared.limits;
    match ending {
        Ok(data) if data.get().len() > limit => {
            let size = data.get().len();
            let message = format!("the answer has {size} bytes, the limit is {limit}");
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
    outcome.extras = status(request.status_ttl_ms, job.attempt(), None);
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
    let run = run(job, &error);
    let request = &job.request;
    if let Some(delay) = retry_in(job, error.code, retry_after) {
        failure::run(job, &error, cause, Next::Retried(delay));
        let notice = notice(job, &error, delay);
        let notice = request.reply.clone().zip(notice).map(|(reply, data)| {
            let head = job.head(&reply.response_key);
            let frame = head.data(FrameType::Progress, seq, Some(&data));
            (reply, frame)
        });
        let settlement = Settlement::Retry { delay, notice };
        return Outcome { run, ..Outcome::new(&request.id, settlement) };
    }
    // Who has set retries wants to look at what was given up nevertheless.
    let wanted = error.code != Code::Cancelled;
    let dead_letter = wanted && (request.reply.is_none() || job.rules.retries.max > 0);
    failure::run(job, &error, cause, if dead_letter { Next::DeadLettered } else { Next::Answered });
    let ended = Ended { error, attempt: job.attempt(), seq, dead_letter };
    Outcome { run, ..give_up(request, &job.keys.queue, ended, job.shared.idempotency_ttl) }
}

/// What a follower of `job` gets between two attempts; without the data of the error if the frame
/// would nest too deep with them.
fn notice(job: &Job, error: &WireError, delay: Duration) -> Option<Box<RawValue>> {
    let (attempt, retry_in_ms) = (job.attempt(), millis(delay));
    let notice = to_raw_value(&Notice { attempt, error, retry_in_ms }).ok()?;
    if fits(&notice, job.shared.limits.depth).is_ok() {
        return Some(notice);
    }
    let error = &WireError { data: None, ..error.clone() };
    to_raw_value(&Notice { attempt, error, retry_in_ms }).ok()
}

/// What ran it died, as a worker may: it counts as a crash.
fn crashed(job: &Job, error: WireError, cause: Option<&str>, seq: u64) -> Outcome {
    let (request, rules) = (&job.request, &job.rules);
    let run = run(job, &error);
    let may_rerun = rules.on_worker_loss == OnWorkerLoss::Rerun;
    if may_rerun && job.record.crashes + 1 < rules.max_crashes {
        failure::run(job, &error, cause, Next::Rerun);
        let settlement = Settlement::Rerun { attempt: job.attempt() };
        return Outcome { run, ..Outcome::new(&request.id, settlement) };
    }
    failure::run(job, &error, cause, Next::DeadLettered);
    let ended = Ended { error, attempt: job.attempt(), seq, dead_letter: true };
    Outcome { run, ..give_up(request, &job.keys.queue, ended, job.shared.idempotency_ttl) }
}

/// How a request ends without an answer.
pub(crate) struct Ended {
    pub(crate) error: WireError,
    /// Number of the run in which it ended, or would have.
    pub(crate) attempt: u32,
    /// `seq` of the ending frame.
    pub(crate) seq: u64,
    /// Whether the dead letters keep it.
    pub(crate) dead_letter: bool,
}

/// Logs and ends a request that is refused before its run. The dead letters keep it if `dead_letter`, or
/// if its caller waits for no answer. `cause` is for the log alone.
pub(crate) fn refuse(
    request: &Wire,
    queue: &QueueKeys,
    attempt: u32,
    (error, cause): (WireError, Option<&str>),
    dead_letter: bool,
    idempotency_ttl: Duration,
) -> Outcome {
    failure::refused(&request.id, Some(&request.name), queue.name(), attempt, &error, cause);
    let ended =
        Ended { error, attempt, seq: 1, dead_letter: dead_letter || request.reply.is_none() };
    give_up(request, queue, ended, idempotency_ttl)
}

/// A request that ends without an answer.
pub(crate) fn give_up(
    request: &Wire,
    queue: &QueueKeys,
    ended: Ended,
    idempotency_ttl: Duration,
) -> Outcome {
    let Ended { error, attempt, seq, dead_letter } = ended;
    let code = error.code;
    let frame = |key: &str| request.head(key, attempt).error(seq, &error);
    let answer = answer(request.reply.clone(), frame);
    let extras = status(request.status_ttl_ms, attempt, Some(&error));
    // What did not come to its own end may be begun anew.
    let again = [Code::Cancelled, Code::DeadlineExceeded, Code::Overloaded, Code::WorkerLost];
    let ttl = (!again.contains(&code)).then_some(idempotency_ttl);
    let call = call(request, queue, ttl, frame);
    let settlement = match answer {
        // Whoever cancels a job that nobody waits for does not want to look at it.
        None if code == Code::Cancelled => Settlement::Done,
        answer if dead_letter => {
            Settlement::DeadLetter { code, reason: error.message.clone(), answer }
        }
        Some((reply, frame)) => Settlement::Answer { reply, frame },
        None => Settlement::DeadLetter { code, reason: error.message.clone(), answer: None },
    };
    Outcome { call, code: Some(code), extras, ..Outcome::new(&request.id, settlement) }
}

/// The end of a request's states, if they are kept.
pub(crate) fn status(ttl_ms: Option<u64>, attempt: u32, error: Option<&WireError>) -> Vec<Extra> {
    let end = ttl_ms.map(|ttl_ms| {
        let error = error.map(|error| (error.code, error.message.clone()));
        Extra::Status(StatusEnd { ttl_ms, attempt, error })
    });
    end.into_iter().collect()
}

/// Who waits, if anybody does, and the frame for their response key.
pub(crate) fn answer(
    reply: Option<ReplyTo>,
    frame: impl Fn(&str) -> String,
) -> Option<(ReplyTo, String)> {
    reply.map(|reply| {
        let frame = frame(&reply.response_key);
        (reply, frame)
    })
}

/// The end of a request's call, if it has an idempotency key.
pub(crate) fn call(
    request: &Wire,
    queue: &QueueKeys,
    keep: Option<Duration>,
    frame: impl Fn(&str) -> String,
) -> Option<EndedCall> {
    let (digest, frame) = (request.call()?, frame(&queue.response(&request.id)));
    Some(EndedCall { digest, keep, frame })
}

/// A run that ended so, for the history.
pub(crate) fn run(job: &Job, error: &WireError) -> String {
    let message = &error.message[..error.message.floor_char_boundary(MAX_REMEMBERED)];
    let run = Run {
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

/// How long until the next attempt; `None` if there is none.
fn retry_in(job: &Job, code: Code, after: Option<Duration>) -> Option<Duration> {
    let retries = &job.rules.retries;
    let by_request = job.request.max_attempts.map(|attempts| attempts.saturating_sub(1));
    let further = u64::from(retries.max).min(by_request.unwrap_or(u64::MAX));
    let is_wanted = after.is_some() || retries.on.contains(&code);
    if !is_wanted || u64::from(job.record.fails) >= further {
        return None;
    }
    let drawn = || longest_pause(retries, job.record.fails).mul_f64(random());
    let delay = after.map_or_else(drawn, |after| after.min(LONGEST_ASKED));
    // A retry that would start after the budget's end is not scheduled.
    let in_time = job.context().remaining().is_none_or(|left| delay < left);
    in_time.then_some(delay)
}

/// The longest pause after so many failures before this one.
fn longest_pause(retries: &Retries, fails: u32) -> Duration {
    match retries.backoff {
        Backoff::Constant => retries.base,
        Backoff::Exponential => {
            let doubled = 2_u32.checked_pow(fails).and_then(|by| retries.base.checked_mul(by));
            doubled.map_or(retries.cap, |pause| pause.min(retries.cap))
        }
    }
}

/// From 0 to 1. Each hasher of the standard library has other keys: random enough to spread load.
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
    fn the_jitter_is_full() {
        let drawn: Vec<f64> = (0..1000).map(|_| random()).collect();
        assert!(drawn.iter().all(|x| (0.0..1.0).contains(x)));
        let low = drawn.iter().filter(|x| **x < 0.5).count();
        assert!((350..650).contains(&low), "{low}");
    }
}
