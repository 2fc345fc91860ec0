//! The jobs of `serves`: rq workers run them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redcall_client::Code;
use redcall_common::settings::RqSettings;
use redcall_store::rq::{NewJob, RqAnswer, RqJobs};
use redcall_store::{Connector, StoreError};
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use uuid::Uuid;

use super::answer;
use super::job::{JobFields, JobIds};
use crate::door::{Door, Failure, ForeignJob, Peer};
use crate::error::DoorError;

/// The time limit for removing a job, and for all of them when the door ends.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How much earlier than its caller's time the attempt to enqueue a job ends: the caller gets its
/// error.
const SLACK: Duration = Duration::from_millis(100);

/// The rq workers of a door.
struct RqWorkers {
    door: Arc<Door>,
    settings: Arc<RqSettings>,
    jobs: Arc<RqJobs>,
    /// The jobs at rq's Redis, up to their removal: the end of the door waits for it.
    sent: TaskTracker,
}

/// Runs the jobs of `serves` until the door drains.
pub(super) async fn run(
    door: &Arc<Door>,
    settings: &Arc<RqSettings>,
    connector: &Connector,
) -> Result<(), DoorError> {
    let attempt = || RqJobs::open(connector.clone());
    let Some(jobs) = super::open(door, attempt).await? else { return Ok(()) };
    let sent = TaskTracker::new();
    let workers = RqWorkers {
        door: door.clone(),
        settings: settings.clone(),
        jobs: Arc::new(jobs),
        sent: sent.clone(),
    };
    let ended = door.run_jobs(Arc::new(workers), std::future::pending()).await;
    sent.close();
    // The worker aborts the jobs that still run: the runtime drops them soon, and they are removed.
    if timeout(TIMEOUT, sent.wait()).await.is_err() {
        tracing::debug!(gateway = door.name(), "jobs at rq's Redis are left to their TTL");
    }
    ended
}

impl Peer for RqWorkers {
    fn run(&self, job: ForeignJob) -> BoxFuture<'static, Result<Box<RawValue>, Failure>> {
        let (settings, jobs) = (self.settings.clone(), self.jobs.clone());
        let (message, tracked) = (self.door.settings().message, self.sent.clone());
        async move {
            let left = job.left();
            let deadline = Instant::now() + left;
            let ids = JobIds {
                job: Uuid::new_v4().to_string(),
                call: Uuid::new_v4().to_string(),
                response_key: Uuid::new_v4().to_string(),
            };
            let name = (settings.function.as_str(), job.name());
            let fields = JobFields::new(name, job.data(), &ids, left)
                .map_err(|why| Failure::new(Code::InvalidData, why.to_string()))?;
            // Before the job exists: a caller that is gone at any time from here withdraws it.
            let sent_job =
                SentJob { jobs: jobs.clone(), ids, queue: settings.to.clone(), timeout: left };
            let (was_answered, tracked) = (false, tracked.token());
            let mut sent = Sent { job: sent_job, was_answered, tracked };
            let (new, fields) = (sent.job.new_job(), fields.of(&settings.to));
            let limit = left.saturating_sub(SLACK).max(left / 2);
            jobs.enqueue(&new, &fields, limit).await.map_err(unavailable)?;
            let answer = jobs.answer(&sent.job.ids.response_key, message, deadline).await;
            match answer.map_err(unavailable)? {
                None => Err(Failure::new(Code::DeadlineExceeded, "no rq worker answered in time")),
                Some(answer) => {
                    sent.was_answered = true;
                    read(answer)
                }
            }
        }
        .boxed()
    }
}

/// A job at rq's Redis, removed when this is dropped.
struct Sent {
    job: SentJob,
    was_answered: bool,
    tracked: TaskTrackerToken,
}

#[derive(Clone)]
struct SentJob {
    jobs: Arc<RqJobs>,
    ids: JobIds,
    queue: String,
    timeout: Duration,
}

impl SentJob {
    fn new_job(&self) -> NewJob<'_> {
        NewJob {
            id: &self.ids.job,
            queue: &self.queue,
            response_key: &self.ids.response_key,
            timeout: self.timeout,
        }
    }

    /// Removes the job, or what an answered one has left.
    async fn remove(&self, was_answered: bool) -> Result<(), StoreError> {
        match was_answered {
            true => self.jobs.remove_answer(&self.new_job(), TIMEOUT).await,
            false => self.jobs.withdraw(&self.new_job(), TIMEOUT).await,
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        // Without a runtime the process ends; all that is left has a TTL.
        let Ok(runtime) = Handle::try_current() else { return };
        let (job, was_answered) = (self.job.clone(), self.was_answered);
        let remove = async move {
            if let Err(error) = job.remove(was_answered).await {
                tracing::debug!(job = job.ids.job, %error, "a job of rq was not removed");
            }
        };
        self.tracked.task_tracker().spawn_on(remove, &runtime);
    }
}

fn read(answer: RqAnswer) -> Result<Box<RawValue>, Failure> {
    let failed = |message| Err(Failure::new(Code::HandlerFailed, message));
    match answer {
        RqAnswer::Element(element) => match answer::read(&element) {
            Some(data) => Ok(data),
            None => failed("the rq worker's answer is not JSON with `data`"),
        },
        RqAnswer::NotAList => failed("the rq worker's answer is not a list"),
        RqAnswer::TooLarge(length) => {
            let message = format!("the rq worker's answer has {length} bytes");
            Err(Failure::new(Code::TooLarge, message))
        }
    }
}

fn unavailable(error: StoreError) -> Failure {
    tracing::warn!(%error, "rq's Redis refused a job");
    Failure::new(Code::Unavailable, "rq's Redis cannot be reached")
}
