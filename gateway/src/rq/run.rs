//! One job that was taken from rq: its call, its request, its end.
//!
//! The job stays in the inbox until its end is written. If this process dies, another gateway
//! takes it over and sends the same request again: the idempotency key joins the running call, or
//! gets its recorded end.

use std::sync::Arc;
use std::time::Duration;

use redcall_client::RequestBuilder;
use redcall_common::settings::{RqErrors, RqSettings};
use redcall_store::StoreError;
use redcall_store::rq::{JobEnd, MAX_JOB_ID, RqFinish, RqInbox, TakenJob, Unreadable};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::call::Call;
use super::detached::Detached;
use super::names::{FAILED, FINISHED, idempotency_key};
use super::{answer, errors};
use crate::door::{Door, Failure};
use crate::pickle::{Bounds, Refused};

/// How long an answer waits for its caller at rq's Redis.
const ANSWER_TTL: Duration = Duration::from_secs(600);
/// The least time of a call: a job that is taken over has an end to fetch.
const SHORTEST: Duration = Duration::from_secs(1);
/// The time limit of one attempt to write an end.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The pauses between attempts.
const PAUSE: Duration = Duration::from_millis(250);
/// How often the end of a job is written that rq's Redis refuses; a lost connection counts too.
const ATTEMPTS: usize = 2400;
/// How long a call without an answer waits for one of [`Context::sending`].
const PATIENCE: Duration = Duration::from_secs(1);

/// The state that all jobs of one door share.
pub(super) struct Context {
    pub(super) door: Arc<Door>,
    pub(super) settings: Arc<RqSettings>,
    pub(super) inbox: Arc<RqInbox>,
    /// The address of rq's Redis, as the callers' address.
    pub(super) peer: String,
    /// The jobs whose data may be read at the same time: each may need some tens of MiB for a
    /// moment.
    pub(super) readers: Semaphore,
    /// The calls without an answer that may be enqueued at the same time. While Redcall's Redis is
    /// away, each of them takes long: the rest of the room is for callers that wait.
    pub(super) sending: Semaphore,
}

/// Jobs whose data are read at the same time.
pub(super) const READERS: usize = 2;

/// The end of a call.
enum End {
    /// The caller's response key, and the data of the answer.
    Answered(String, Box<serde_json::value::RawValue>),
    /// A call without an answer was queued.
    Queued,
    /// A call without an answer that Redcall does not accept now.
    Later,
    /// It failed. The caller's response key, if it waits.
    Failed(Option<String>, Failure),
    /// It is not a call.
    Refused,
}

/// Runs a job, and writes its end. Returns `false` if it is to be sent later: Redcall does not
/// accept it now.
pub(super) async fn run(context: Arc<Context>, mut job: TakenJob) -> bool {
    let taken = Instant::now();
    let data = std::mem::replace(&mut job.data, Err(Unreadable::Empty));
    let running = context.door.guarded(end_of(&context, (&job, taken), data));
    let end = running.await.unwrap_or(End::Refused);
    let answer_id = Uuid::new_v4().to_string();
    let (status, answer) = match end {
        End::Answered(key, data) => (FINISHED, Some((answer::write(&data, &answer_id, &key), key))),
        End::Queued => (FINISHED, None),
        End::Later => {
            put_later(&context, &job).await;
            return false;
        }
        End::Failed(Some(key), failure) if context.settings.errors == RqErrors::Answer => {
            (FAILED, Some((answer::write(&errors::data(&failure), &answer_id, &key), key)))
        }
        End::Failed(..) | End::Refused => (FAILED, None),
    };
    let end = JobEnd {
        id: &job.id,
        inbox: &job.inbox,
        status,
        result_ttl: context.settings.result_ttl,
        answer: answer.as_ref().map(|(answer, key)| (key.as_str(), answer.as_str())),
        answer_ttl: ANSWER_TTL,
    };
    finish(&context, &end).await;
    true
}

async fn end_of(
    context: &Arc<Context>,
    (job, taken): (&TakenJob, Instant),
    data: Result<Vec<u8>, Unreadable>,
) -> End {
    let (door, peer) = (&context.door, context.peer.as_str());
    let Some(id) = std::str::from_utf8(&job.id).ok().filter(|id| is_job_id(id)) else {
        return refused(context, "unreadable id", &"the id is not a text");
    };
    let call = match data {
        Ok(data) => read(context, data).await,
        Err(why) => return refused(context, unreadable(why), &id),
    };
    let call = match call {
        Ok(Ok(call)) => call,
        Ok(Err(why)) => return refused(context, "malformed", &why),
        Err(_) => {
            door.panicked();
            return End::Refused;
        }
    };
    let Call { name, data, response_key } = call;
    let request = |waits: bool| -> Result<(String, RequestBuilder), Failure> {
        let left = left(door, job.age.saturating_add(taken.elapsed()));
        let made = door.job_of(&name).and_then(|job_name| {
            let request = match waits {
                true => door.waited_request(&job_name, &data, peer)?.timeout(left),
                false => door.request(&job_name, &data, peer)?,
            };
            let request = request.idempotency_key(&idempotency_key(id)).header("rq_job", id);
            Ok((job_name, request))
        });
        made.map_err(|failure| door.rejected(&name, peer, failure))
    };
    let Some(key) = response_key else {
        return match request(false) {
            Ok((job_name, request)) => queue(context, &job_name, request).await,
            Err(failure) => End::Failed(None, failure),
        };
    };
    let waited = match request(true) {
        Ok((job_name, request)) => {
            let (door, peer) = (door.clone(), context.peer.clone());
            Detached::new(async move { door.wait(&job_name, &peer, request).await }).await
        }
        Err(failure) => Err(failure),
    };
    match waited {
        Ok(response) => End::Answered(key, response.data),
        Err(failure) => End::Failed(Some(key), failure),
    }
}

/// Reads the data of a job on a thread of its own: hostile data may take a while, and a panic ends
/// this job only.
async fn read(
    context: &Arc<Context>,
    data: Vec<u8>,
) -> Result<Result<Call, Refused>, tokio::task::JoinError> {
    let door = &context.door;
    let bounds = Bounds { bytes: door.settings().message, depth: door.all_settings().limits.depth };
    let settings = context.settings.clone();
    // It is never closed.
    let _permit = context.readers.acquire().await;
    tokio::task::spawn_blocking(move || Call::read(&data, &settings.function, &bounds)).await
}

/// Enqueues a call without an answer. Only its end is counted and logged.
async fn queue(context: &Context, job: &str, request: RequestBuilder) -> End {
    let (door, peer) = (&context.door, context.peer.as_str());
    // It is never closed.
    let Ok(_permit) = timeout(PATIENCE, context.sending.acquire()).await else {
        return End::Later;
    };
    match request.send().await {
        Ok(receipt) => {
            door.ended(job, peer, &receipt.id, None);
            End::Queued
        }
        Err(error) if errors::is_repeated(error.code()) => {
            tracing::debug!(gateway = door.name(), job, %error, "a call is sent later");
            End::Later
        }
        Err(error) => {
            let failure = Failure::from(error);
            door.ended(job, peer, "", Some(&failure));
            End::Failed(None, failure)
        }
    }
}

/// Writes the end of a job, as often as it takes. It is written once: it removes the entry in the
/// inbox.
async fn finish(context: &Context, end: &JobEnd<'_>) {
    let (gateway, id) = (context.door.name(), String::from_utf8_lossy(end.id));
    match repeated(context, &id, || context.inbox.finish(end, TIMEOUT)).await {
        Some(RqFinish::Ended) | None => {}
        // Also if the reply to the last attempt was lost.
        Some(RqFinish::NotOurs) => tracing::debug!(gateway, %id, "the job was ended before"),
        Some(RqFinish::Unanswerable) => {
            context.door.metrics().refused("response key");
            tracing::warn!(gateway, %id, "the response key of a job is not a list");
        }
    }
}

/// Moves a job from the inbox to the jobs that are sent later, which frees its room.
async fn put_later(context: &Context, job: &TakenJob) {
    let id = String::from_utf8_lossy(&job.id);
    repeated(context, &id, || context.inbox.put_later(job, TIMEOUT)).await;
}

/// Takes the last step of a job at rq's Redis, as often as it takes. Returns `None` if it gives up.
async fn repeated<T, F>(context: &Context, id: &str, step: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let gateway = context.door.name();
    for _ in 0..ATTEMPTS {
        match step().await {
            Ok(done) => return Some(done),
            Err(error) => report(gateway, id, &error),
        }
        sleep(PAUSE).await;
    }
    // In a live inbox, no gateway would take it over.
    context.inbox.replace();
    tracing::error!(gateway, id, "gave up writing the end of a job: it is taken over");
    None
}

fn report(gateway: &str, id: &str, error: &StoreError) {
    match error.is_transient() {
        true => tracing::debug!(gateway, id, %error, "retrying to write the end of a job"),
        false => tracing::warn!(gateway, id, %error, "retrying to write the end of a job"),
    }
}

/// Returns the rest of the caller's time, `age` after the first gateway took the job.
fn left(door: &Door, age: Duration) -> Duration {
    let timeout = door.settings().timeout;
    timeout.saturating_sub(age).max(SHORTEST.min(timeout))
}

fn is_job_id(id: &str) -> bool {
    (1..=MAX_JOB_ID).contains(&id.len()) && !id.chars().any(char::is_control)
}

fn refused(context: &Context, why: &'static str, detail: &dyn std::fmt::Display) -> End {
    context.door.refuse(&context.peer, why);
    tracing::debug!(gateway = context.door.name(), %detail, "refused a job of rq");
    End::Refused
}

fn unreadable(why: Unreadable) -> &'static str {
    match why {
        Unreadable::Absent => "no such job",
        Unreadable::NotAHash => "not a hash",
        Unreadable::Empty => "empty",
        Unreadable::TooLarge => "too large",
        Unreadable::LongId => "unreadable id",
    }
}
