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
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use super::answer;
use super::job::{JobFields, JobIds};
use crate::door::{Door, Failure, ForeignJob, Peer};
use crate::error::DoorError;

/// How long the answer of a withdrawn job is waited for, to remove it: python-rpc sets no TTL.
const LATE: Duration = Duration::from_secs(600);
/// Answers that are removed late at the same time, at most.
const LATE_AT_ONCE: usize = 1000;
/// The time limit for removing a job.
const WITHIN: Duration = Duration::from_secs(5);

/// The rq workers of a door.
struct RqWorkers {
    door: Arc<Door>,
    settings: Arc<RqSettings>,
    jobs: Arc<RqJobs>,
    late: Arc<Semaphore>,
}

/// Runs the jobs of `serves` until the door drains.
pub(super) async fn run(
    door: &Arc<Door>,
    settings: &Arc<RqSettings>,
    connector: &Connector,
) -> Result<(), DoorError> {
    let attempt = || RqJobs::open(connector.clone());
    let Some(jobs) = super::open(door, attempt).await? else { return Ok(()) };
    let workers = RqWorkers {
        door: door.clone(),
        settings: settings.clone(),
        jobs: Arc::new(jobs),
        late: Arc::new(Semaphore::new(LATE_AT_ONCE)),
    };
    door.run_jobs(Arc::new(workers), std::future::pending()).await
}

impl Peer for RqWorkers {
    fn run(&self, job: ForeignJob) -> BoxFuture<'static, Result<Box<RawValue>, Failure>> {
        let (settings, jobs) = (self.settings.clone(), self.jobs.clone());
        let (message, late) = (self.door.settings().message, self.late.clone());
        async move {
            let deadline = Instant::now() + job.left();
            let ids = JobIds {
                job: Uuid::new_v4().to_string(),
                call: Uuid::new_v4().to_string(),
                response_key: Uuid::new_v4().to_string(),
            };
            let name = (settings.function.as_str(), job.name());
            let fields = JobFields::new(name, job.data(), &ids, job.left())
                .map_err(|why| Failure::new(Code::InvalidData, why.to_string()))?;
            // Before the job exists: a caller that is gone at any time from here withdraws it.
            let sent_job = SentJob { jobs: jobs.clone(), ids, queue: settings.to.clone(), late };
            let mut sent = Sent { job: sent_job, was_answered: false };
            let (new, fields) = (sent.job.new_job(), fields.of(&settings.to));
            jobs.enqueue(&new, &fields, job.left()).await.map_err(unavailable)?;
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
}

#[derive(Clone)]
struct SentJob {
    jobs: Arc<RqJobs>,
    ids: JobIds,
    queue: String,
    late: Arc<Semaphore>,
}

impl SentJob {
    fn new_job(&self) -> NewJob<'_> {
        NewJob { id: &self.ids.job, queue: &self.queue, response_key: &self.ids.response_key }
    }

    /// Removes the job, or what an answered one has left.
    async fn remove(&self, was_answered: bool) -> Result<(), StoreError> {
        let key = &self.ids.response_key;
        if was_answered {
            return self.jobs.remove_answer(key, WITHIN).await;
        }
        self.jobs.withdraw(&self.new_job(), WITHIN).await?;
        // A worker that has begun it is not disturbed: its answer is removed when it comes.
        let Ok(_permit) = self.late.try_acquire() else { return Ok(()) };
        match self.jobs.answer(key, 0, Instant::now() + LATE).await? {
            Some(_) => self.jobs.remove_answer(key, WITHIN).await,
            None => Ok(()),
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        // Without a runtime the process ends; the job has a TTL.
        let Ok(runtime) = Handle::try_current() else { return };
        let (job, was_answered) = (self.job.clone(), self.was_answered);
        runtime.spawn(async move {
            if let Err(error) = job.remove(was_answered).await {
                tracing::debug!(job = job.ids.job, %error, "a job of rq was not removed");
            }
        });
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
