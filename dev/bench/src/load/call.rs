//! Waited calls, each caller's one after the other.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redcall_client::{CallError, Client, RequestBuilder, Response, Update};
use tokio::task::JoinSet;

use super::{Job, LoadError};
use crate::figures::{CallFigures, Times};

/// The job to call, and the duration.
#[derive(Debug, Clone)]
pub struct Calls {
    /// The job.
    pub job: Job,
    /// The number of callers, each with one call at a time.
    pub callers: usize,
    /// How long they call.
    pub duration: Duration,
    /// How long they call before anything is measured.
    pub warm_up: Duration,
    /// How long each waits before each of its calls; the waiting is not measured.
    pub pause: Duration,
    /// `true` if each caller follows its call and reads its frames, instead of only the answer.
    pub stream: bool,
}

/// The results of all callers, shared: the times of thousands of callers take memory.
#[derive(Default)]
struct Seen {
    times: Times,
    errors: u64,
    last: Option<CallError>,
}

/// Calls from `client` until the time is over or `interrupted` ends: then no caller is left when
/// this returns, and calls in flight are withdrawn. Errors are counted; calls in flight at the end
/// of the time are waited for and count.
///
/// # Errors
///
/// [`LoadError`]: no call was answered, it was interrupted, or a caller has panicked.
pub async fn call(
    client: &Client,
    calls: &Calls,
    interrupted: impl Future<Output = ()>,
) -> Result<CallFigures, LoadError> {
    let mut interrupted = pin!(interrupted);
    if !calls.warm_up.is_zero() {
        round(client, calls, calls.warm_up, interrupted.as_mut()).await?;
    }
    let began = Instant::now();
    let Seen { times, errors, last } = round(client, calls, calls.duration, interrupted).await?;
    let figures = times.figures(errors, began.elapsed());
    match last {
        Some(error) if figures.calls == 0 => Err(LoadError::NothingAnswered(error)),
        _ => Ok(figures),
    }
}

async fn round(
    client: &Client,
    calls: &Calls,
    lasts: Duration,
    mut interrupted: Pin<&mut impl Future<Output = ()>>,
) -> Result<Seen, LoadError> {
    let until = Instant::now() + lasts;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut callers = JoinSet::new();
    for _ in 0..calls.callers {
        callers.spawn(caller(client.clone(), calls.clone(), until, seen.clone()));
    }
    loop {
        tokio::select! {
            ended = callers.join_next() => match ended {
                Some(ended) => ended?,
                None => break,
            },
            () = &mut interrupted => {
                callers.shutdown().await;
                return Err(LoadError::Interrupted);
            }
        }
    }
    Ok(std::mem::take(&mut *locked(&seen)))
}

async fn caller(client: Client, calls: Calls, until: Instant, seen: Arc<Mutex<Seen>>) {
    let Calls { job, pause, stream, .. } = calls;
    while Instant::now() < until {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let began = Instant::now();
        let request = job.request(&client);
        let ended = if stream { read_all(request).await } else { request.wait().await };
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

/// Reads all that a call sends, up to its answer.
async fn read_all(request: RequestBuilder) -> Result<Response, CallError> {
    let mut updates = request.stream().await?;
    loop {
        match updates.next().await {
            Some(Ok(Update::Done(response))) => return Ok(response),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
            None => return Err(CallError::TimedOut), // it ends with one of those above
        }
    }
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
