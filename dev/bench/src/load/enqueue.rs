//! Fire-and-forget jobs, one by one or in batches.

use std::time::{Duration, Instant};

use redcall_client::{CallError, Client};
use tokio::task::JoinSet;

use super::{Job, LoadError};
use crate::figures::JobFigures;

/// The job to enqueue, and the duration.
#[derive(Debug, Clone)]
pub struct Enqueue {
    /// The job.
    pub job: Job,
    /// The number of callers.
    pub callers: usize,
    /// How many jobs each hands over at once.
    pub batch: usize,
    /// How long they do so.
    pub duration: Duration,
}

/// Enqueues from `client`. Only requests that Redis has confirmed count.
///
/// # Errors
///
/// [`LoadError`]: no job could be queued, or a caller has panicked.
pub async fn enqueue(client: &Client, plan: &Enqueue) -> Result<JobFigures, LoadError> {
    let began = Instant::now();
    let until = began + plan.duration;
    let mut callers = JoinSet::new();
    for _ in 0..plan.callers {
        callers.spawn(caller(client.clone(), plan.job.clone(), plan.batch, until));
    }
    let (mut jobs, mut errors, mut last) = (0, 0, None);
    while let Some(ended) = callers.join_next().await {
        let (queued, failed, error) = ended?;
        jobs += queued;
        errors += failed;
        last = error.or(last);
    }
    match last {
        Some(error) if jobs == 0 => Err(LoadError::NothingQueued(error)),
        _ => Ok(JobFigures::of(jobs, errors, began.elapsed())),
    }
}

async fn caller(
    client: Client,
    job: Job,
    batch: usize,
    until: Instant,
) -> (u64, u64, Option<CallError>) {
    let (mut queued, mut failed, mut last) = (0, 0, None);
    while Instant::now() < until {
        let receipts = if batch == 1 {
            vec![job.request(&client).send().await]
        } else {
            client.call_many((0..batch).map(|_| job.request(&client))).await
        };
        for receipt in receipts {
            match receipt {
                Ok(_) => queued += 1,
                Err(error) => {
                    failed += 1;
                    last = Some(error);
                }
            }
        }
    }
    (queued, failed, last)
}
