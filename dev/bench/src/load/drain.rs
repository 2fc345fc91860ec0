//! How fast workers empty a queue that was full before they began.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use redcall_client::{CallError, Client, StoreError};
use tokio::time::sleep;

use super::Job;
use crate::figures::JobFigures;

/// How many are handed over at once.
const BATCH: usize = 1000;
/// The pause between two checks whether all are done. Each takes some µs of Redis's time.
pub const CHECK_PAUSE: Duration = Duration::from_millis(5);

/// The jobs to drain.
#[derive(Debug, Clone)]
pub struct Drain {
    /// The job.
    pub job: Job,
    /// Its queue, which has to be empty, and is paused while it is filled.
    pub queue: String,
    /// How many.
    pub jobs: usize,
    /// `true` if each job is answered, although no caller takes the answers: they expire half a
    /// minute after the time limit of the drain.
    pub answers: bool,
    /// How long the draining may take.
    pub timeout: Duration,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrainError {
    /// Something waits in the queue, or runs.
    #[error("queue `{queue}` has {count} jobs; it has to be empty; name another, or wait")]
    NotEmpty {
        /// The queue.
        queue: String,
        /// The number of waiting and running jobs.
        count: u64,
    },
    /// The queue is paused.
    #[error("queue `{queue}` is paused; resume it, or name another")]
    Paused {
        /// The queue.
        queue: String,
    },
    /// No worker takes from the queue.
    #[error("no worker serves queue `{queue}`; start one, or name another queue")]
    NoWorkers {
        /// The queue.
        queue: String,
    },
    /// It could not be filled. It is open again, and the queued jobs run.
    #[error("queue `{queue}` could not be filled")]
    NotFilled {
        /// The queue.
        queue: String,
        /// Why.
        source: CallError,
    },
    /// It was not empty in time.
    #[error("queue `{queue}` still has {left} jobs after {timeout:?}")]
    TooSlow {
        /// The queue.
        queue: String,
        /// The number of waiting and running jobs.
        left: u64,
        /// How long it had.
        timeout: Duration,
    },
    /// Redis does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Pauses the queue, fills it, lets it go, and waits until it is empty.
///
/// Dropped early, it may leave the queue paused: `redcall resume` opens it.
///
/// # Errors
///
/// [`DrainError`].
pub async fn drain(client: &Client, plan: &Drain) -> Result<JobFigures, DrainError> {
    let queue = || plan.queue.clone();
    let before = queue_state(client, &plan.queue).await?;
    match before {
        QueueState { paused: true, .. } => return Err(DrainError::Paused { queue: queue() }),
        QueueState { workers: 0, .. } => return Err(DrainError::NoWorkers { queue: queue() }),
        QueueState { left, .. } if left > 0 => {
            return Err(DrainError::NotEmpty { queue: queue(), count: left });
        }
        QueueState { .. } => {}
    }
    let not_filled = |source| DrainError::NotFilled { queue: queue(), source };
    client.pause(&plan.queue).await.map_err(not_filled)?;
    let filled = fill(client, plan).await;
    let began = Instant::now();
    client.resume(&plan.queue).await.map_err(not_filled)?;
    filled.map_err(not_filled)?;
    loop {
        let left = queue_state(client, &plan.queue).await?.left;
        let took = began.elapsed();
        if left == 0 {
            return Ok(JobFigures::of(plan.jobs as u64, 0, took));
        }
        if took > plan.timeout {
            return Err(DrainError::TooSlow { queue: queue(), left, timeout: plan.timeout });
        }
        sleep(CHECK_PAUSE).await;
    }
}

async fn fill(client: &Client, plan: &Drain) -> Result<(), CallError> {
    let mut left = plan.jobs;
    while left > 0 {
        let batch = left.min(BATCH);
        left -= batch;
        let requests = (0..batch).map(|_| plan.job.request(client).queue(&plan.queue));
        if plan.answers {
            let submitting = requests.map(|request| request.timeout(plan.timeout).submit());
            try_join_all(submitting).await?;
        } else {
            for receipt in client.call_many(requests).await {
                receipt?;
            }
        }
    }
    Ok(())
}

struct QueueState {
    left: u64,
    workers: u64,
    paused: bool,
}

async fn queue_state(client: &Client, name: &str) -> Result<QueueState, StoreError> {
    let queue = client.inspect().queue(name).await?;
    let left = queue.length + queue.running + queue.parked_requests + queue.limited;
    Ok(QueueState { left, workers: queue.workers, paused: queue.paused })
}
