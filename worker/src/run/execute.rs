//! One job's run: the checks before the start, the handler, the outcome.
//!
//! Runs on the handlers' runtime. The dispatcher drops it to end the job from outside.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use redcall_common::digest;
use redcall_common::error::{Code, WireError};
use redcall_common::frame::FrameType;
use redcall_common::request::DecodedRequest;
use redcall_common::service::ServiceCall;
use redcall_common::time::millis;
use redcall_store::{
    Claim, Claimed, Outcome, RunOps as _, Session as _, SharedOps as _, StoreError,
};
use serde_json::value::to_raw_value;
use tokio::time::{Instant, sleep, timeout};

use crate::causes::with_causes;
use crate::handler::error::HandlerError;
use crate::handler::interface::Handler;
use crate::run::auth::Verified;
use crate::run::job::{Event, Job};
use crate::run::outcome::failure::{self, NextStep};
use crate::run::outcome::{self, Unanswered, give_up};
use crate::run::progress_error::ProgressError;
use crate::run::request::Request;
use crate::run::service::{self, ServiceRules};
use crate::time::{REDIS_PAUSE, REDIS_TIMEOUT};

/// How long a job continues after its deadline, while the deadline is read again from Redis.
pub(crate) const DEADLINE_TIMEOUT: Duration = Duration::from_millis(250);

/// The outcome of a job that does not run.
enum NotRun {
    /// The job is settled with this outcome.
    Settle(Box<Outcome>),
    /// Another worker has the job.
    Lost,
}

/// Runs a handler to its end and settles the job with the result.
pub(crate) async fn execute(handler: Arc<dyn Handler>, request: Request) {
    let job = request.job();
    match check_start(job).await {
        Ok(()) => {}
        Err(NotRun::Settle(outcome)) => {
            job.settle_as(|_| *outcome, None).await;
            return;
        }
        Err(NotRun::Lost) => {
            let _ = job.shared.events.send(Event::Lost { serial: job.serial });
            return;
        }
    }
    let calling = async { handler.call(request.clone()).await };
    let calling = request.context().scope(calling);
    let result = AssertUnwindSafe(calling).catch_unwind().await.unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().copied();
        let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let cause = Some(message.unwrap_or("no message").to_owned());
        let error = HandlerError::with_code(Code::HandlerPanicked, "the handler panicked");
        Err(HandlerError { cause, ..error })
    });
    // The caller has an answer already: a later failure can only be logged.
    let late = result.as_ref().err().filter(|_| job.has_answered());
    let late = late.map(|error| (error.error.clone(), error.cause.clone()));
    if !job.settle(result, None).await
        && let Some((error, cause)) = late
    {
        failure::log_run(job, &error, cause.as_deref(), NextStep::Nothing);
    }
}

/// The checks at Redis, each only for jobs that need it.
async fn check_start(job: &Job) -> Result<(), NotRun> {
    if let Some(verified) = &job.verified {
        check_not_repeated(job, verified).await?;
    }
    if job.request.idempotency_key.is_some() {
        claim(job).await?;
    }
    if let (Some(window), None) = (job.rules.unique, &job.request.reply) {
        is_first(job, window).await?;
    }
    if let Some(rules) = job.service {
        read_state(job, rules).await?;
    }
    if let Some(ttl_ms) = job.request.status_ttl_ms {
        note_start(job, ttl_ms).await?;
    }
    if job.attempt() > 1 {
        // Notifies subscribers of the stream that earlier frames may come again. Any other error
        // loses the frame, not the job.
        if let Err(ProgressError::NotOwned) = job.push(FrameType::Restarted, None).await {
            return Err(NotRun::Lost);
        }
    }
    Ok(())
}

/// Checks that a signed request runs once. A takeover or a retry counts as the same request.
async fn check_not_repeated(job: &Job, verified: &Verified) -> Result<(), NotRun> {
    // Unique among all runs, and stable when Redis is queried again.
    let run = format!("{}-{}", job.shared.worker, job.serial);
    let refusal = loop {
        // The start is stored in any case: an earlier worker may have died before storing it.
        match verified.start(job, &run).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(refusal)) => break refusal,
            Err(error) => pause(job, error).await,
        }
    };
    let outcome = outcome::unauthorized(&job.request, &job.keys.queue, refusal, job.attempt());
    Err(NotRun::Settle(Box::new(outcome)))
}

/// Reads the state that the task works on. It can change only if the lease is lost.
async fn read_state(job: &Job, rules: ServiceRules) -> Result<(), NotRun> {
    let (request, queue) = (&job.request, &job.keys.queue);
    let refuse = |error| refused(job, error, None);
    let call = service::call(&request.data).map_err(refuse)?;
    let found = loop {
        match job.shared.link.instance_state(queue, &call.instance, REDIS_TIMEOUT).await {
            Ok(found) => break found,
            Err(error) if error.is_transient() => pause(job, error).await,
            Err(error) => {
                let cause = with_causes(&error);
                let error = WireError::new(
                    Code::Internal,
                    "the instance's state cannot be read from Redis",
                );
                return Err(refused(job, error, Some(&cause)));
            }
        }
    };
    if let (Some(keyring), Some(found)) = (&job.keyring, &found)
        && let Err(why) = found.judge(keyring, queue.name(), &call.instance)
    {
        let key = queue.state(&call.instance);
        tracing::error!(id = request.id, name = request.name, key, %why, "refusing a forged state");
        let message =
            "the instance's state was changed in Redis, but not by a worker of its service";
        return Err(refuse(WireError::new(Code::Internal, message)));
    }
    let sealer = request.signer().map(|(_, signer)| service::Sealer {
        queue: queue.name().to_owned(),
        signer: signer.clone(),
    });
    let run = service::run(&call, found, rules, sealer).map_err(refuse)?;
    push_receipt(job, &call).await;
    // Set once: only this function prepares the run.
    let _ = job.run.set(run);
    Ok(())
}

/// Pushes a frame that the task begins, if its caller requested that. Once: only in the first run.
async fn push_receipt(job: &Job, call: &ServiceCall) {
    if call.receipt && job.attempt() == 1 {
        let data = to_raw_value(&serde_json::json!({ "task": call.task }));
        // The answer does not depend on this frame.
        let _ = job.push(FrameType::Progress, data.ok().as_deref()).await;
    }
}

async fn claim(job: &Job) -> Result<(), NotRun> {
    let request = &job.request;
    let now_ms = job.shared.link.now_ms();
    let left = budget_left(request, now_ms);
    let (call, data) = (request.call(), digest::of_data(request.data.get()));
    let call = call.unwrap_or_default();
    let claim = Claim {
        id: &request.id,
        call: &call,
        data: &data,
        deadline_ms: left.map(|left| {
            // The budget may be any number.
            now_ms.saturating_add(millis(left))
        }),
        reply: request.reply.as_ref(),
        status_ttl_ms: request.status_ttl_ms,
    };
    let claimed = loop {
        match job.shared.link.claim(&job.keys, &claim, REDIS_TIMEOUT).await {
            Ok(claimed) => break claimed,
            Err(error) => pause(job, error).await,
        }
    };
    let refuse = |code, message| Err(refused(job, WireError::new(code, message), None));
    match claimed {
        Claimed::Run(deadline_ms) => {
            let left = deadline_ms.map(|at| Duration::from_millis(at.saturating_sub(now_ms)));
            if left.is_some_and(|left| left.is_zero()) {
                return refuse(
                    Code::DeadlineExceeded,
                    "the caller's timeout ended while the request was queued",
                );
            }
            job.set_deadline(left.and_then(|left| Instant::now().checked_add(left)));
            Ok(())
        }
        Claimed::Joined => Err(NotRun::Settle(Box::new(outcome::joined(request)))),
        Claimed::Ended(tail) => {
            Err(NotRun::Settle(Box::new(outcome::of_ended_call(request, &tail))))
        }
        Claimed::Conflict => {
            refuse(Code::Conflict, "the idempotency key was used before, with other data")
        }
        Claimed::TooManyWaiters => {
            refuse(Code::Overloaded, "100 callers already wait for this call; retry later")
        }
        Claimed::LeaseLost => Err(NotRun::Lost),
    }
}

/// Returns the time until the caller's deadline; `None` if it has none. A time in the future counts
/// as now.
pub(crate) fn budget_left(request: &DecodedRequest, now_ms: u64) -> Option<Duration> {
    left_of(request.budget_ms, request, now_ms)
}

/// Returns `true` if the time in which a run may start is over. Most requests have none.
pub(crate) fn is_late(request: &DecodedRequest, now_ms: u64) -> bool {
    left_of(request.start_ms, request, now_ms).is_some_and(|left| left.is_zero())
}

/// Returns the rest of a time, ms, that begins with the enqueue; without one, it begins now.
fn left_of(time: Option<u64>, request: &DecodedRequest, now_ms: u64) -> Option<Duration> {
    let waited = request.enqueued_at.map_or(0, |at| now_ms.saturating_sub(at));
    Some(Duration::from_millis(time?.saturating_sub(waited)))
}

/// Returns the outcome of a request that is refused before its run. `cause` is only logged.
fn refused(job: &Job, error: WireError, cause: Option<&str>) -> NotRun {
    let (request, queue) = (&job.request, &job.keys.queue);
    let (why, ttl) = ((error, cause), job.shared.idempotency_ttl);
    NotRun::Settle(Box::new(outcome::refuse(request, queue, job.attempt(), why, false, ttl)))
}

/// Reads the latest deadline of all callers that have joined the call of `job`. A message about it
/// may have been lost, or may have come before the job knew its own deadline. The dispatcher is
/// notified in any case.
pub(crate) async fn read_deadline(job: Arc<Job>) {
    let (call, id) = (job.request.call().unwrap_or_default(), &job.request.id);
    let link = &job.shared.link;
    let query = link.wanted_until(&job.keys.queue, &call, id, DEADLINE_TIMEOUT);
    let until = timeout(DEADLINE_TIMEOUT, query).await.ok().and_then(Result::ok).flatten();
    let at = |ms| Instant::now().checked_add(link.left_until(ms));
    job.set_deadline(match (job.context().deadline, until) {
        (None, _) | (_, Some(0)) => None,
        (Some(known), Some(until)) => at(until).map(|until| until.max(known)),
        (known, None) => known,
    });
}

async fn is_first(job: &Job, window: Duration) -> Result<(), NotRun> {
    let request = &job.request;
    let kind = digest::of_job(&request.name, request.data.get());
    let (queue, link) = (&job.keys.queue, &job.shared.link);
    let (id, at_ms) = (&request.id, request.enqueued_at);
    loop {
        match link.is_first(queue, &kind, id, at_ms, window, REDIS_TIMEOUT).await {
            Ok(true) => return Ok(()),
            Ok(false) => break,
            Err(error) => pause(job, error).await,
        }
    }
    tracing::info!(
        id = request.id,
        name = request.name,
        "skipped: the same job ran within its `unique` window"
    );
    // Callers may have joined this call by its idempotency key, and wait for its end.
    let error = WireError::new(Code::Cancelled, "the same job ran within its `unique` window");
    let unanswered = Unanswered { error, attempt: job.attempt(), seq: 1, dead_letter: false };
    let ttl = job.shared.idempotency_ttl;
    Err(NotRun::Settle(Box::new(give_up(request, &job.keys.queue, unanswered, ttl))))
}

/// Stores the start before the handler runs, so that no status shows an end before the start.
async fn note_start(job: &Job, ttl_ms: u64) -> Result<(), NotRun> {
    let (id, link) = (&job.request.id, &job.shared.link);
    // The status is kept while the job may run, and for its own time after that.
    let ttl_ms = ttl_ms.saturating_add(millis(job.rules.timeout));
    let mut again = false;
    loop {
        match link.note_start(&job.keys, id, job.attempt(), ttl_ms, again, REDIS_TIMEOUT).await {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(NotRun::Lost),
            Err(error) => {
                again |= error.may_have_happened();
                pause(job, error).await;
            }
        }
    }
}

/// Waits before Redis is queried again. The job's deadline bounds this: the future is dropped then.
async fn pause(job: &Job, error: StoreError) {
    tracing::debug!(%error, id = job.request.id, "retrying the checks before the start");
    sleep(REDIS_PAUSE).await;
}
