//! Waited calls, each caller's one after the other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redcall_client::{CallError, Client};
use tokio::task::JoinSet;

use super::{Job, LoadError};
use crate::figures::{CallFigures, Times};

/// What to call, and for how long.
#[derive(Debug, Clone)]
pub struct Calls {
    /// The job.
    pub job: Job,
    /// How many callers there are, each with one call at a time.
    pub callers: usize,
    /// How long they call.
    pub duration: Duration,
    /// How long they call before anything is measured.
    pub warm_up: Duration,
    /// How long each waits before each of its calls; the waiting is not measured.
    pub pause: Duration,
}

/// What all callers have seen. One for all of them: the times of thousands take room.
#[derive(Default)]
struct Seen {
    times: Times,
    errors: u64,
    last: Option<CallError>,
}

/// Calls from `client`. Errors are counted; what is on its way at the end is waited for and counts.
///
/// # Errors
///
/// [`LoadError`]: not one call was answered, or a caller has panicked.
pub async fn call(client: &Client, calls: &Calls) -> Result<CallFigures, LoadError> {
    if !calls.warm_up.is_zero() {
        round(client, calls, calls.warm_up).await?;
    }
    let began = Instant::now();
    let Seen { times, errors, last } = round(client, calls, calls.duration).await?;
    let figures = times.figures(errors, began.elapsed());
    match last {
        Some(error) if figures.calls == 0 => Err(LoadError::NothingAnswered(error)),
        _ => Ok(figures),
    }
}

async fn round(client: &Client, calls: &Calls, lasts: Duration) -> Result<Seen, LoadError> {
    let until = Instant::now() + lasts;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut callers = JoinSet::new();
    for _ in 0..calls.callers {
        callers.spawn(caller(client.clone(), calls.job.clone(), until, calls.pause, seen.clone()));
    }
    while let Some(ended) = callers.join_next().await {
        ended?;
    }
    Ok(std::mem::take(&mut *locked(&seen)))
}

async fn caller(client: Client, job: Job, until: Instant, pause: Duration, seen: Arc<Mutex<Seen>>) {
    while Instant::now() < until {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let began = Instant::now();
        let ended = job.request(&client).wait().await;
        let took = began.elapsed();
        match ended {
            Ok(_) => locked(&seen).times.note(took),
            Err(error) => {
                let mut seen = locked(&seen);
                seen.errors += 1;
                seen.last = Some(error);
            }
        }
    }
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
