//! The processes of one command: how many there may be, who has one, when the next may start.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redcall_common::error::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep_until};

use super::child::{Asked, Process, Start};
use crate::handler::{Ending, HandlerError};
use crate::request::Request;

/// Pause before a process is started after one that broke; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Pool {
    start: Start,
    /// One for each process that there may be.
    permits: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: Vec<Process>,
    /// How many broke since one last did what it was asked.
    broken: u32,
    /// When the next may be started.
    start_at: Option<Instant>,
    /// No further job comes.
    closed: bool,
}

/// A process that a job has. Dropped, it ends: nobody knows what it is doing.
struct Lent {
    process: Process,
    permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(start: Start, instances: usize) -> Self {
        Self { start, permits: Arc::new(Semaphore::new(instances)), state: Mutex::default() }
    }

    pub(super) fn start(&self) -> &Start {
        &self.start
    }

    /// Has a process do the job.
    pub(super) async fn run(self: Arc<Self>, request: &Request) -> Ending {
        let lent = tokio::select! {
            lent = self.lend() => lent,
            () = request.cancelled() => {
                Err(HandlerError::with_code(Code::Cancelled, "cancelled before a process was free"))
            }
        };
        let mut lent = lent?;
        match lent.process.ask(request, self.start.bounds.cancel_grace).await {
            Asked::Ended(ending) => {
                (self.state().broken, self.state().start_at) = (0, None);
                self.keep(lent);
                ending
            }
            Asked::Broken(error) => {
                self.broke(&error.error.message, Some(request));
                Err(error)
            }
        }
    }

    async fn lend(self: &Arc<Self>) -> Result<Lent, HandlerError> {
        let gone = |_| HandlerError::with_code(Code::Internal, "the pool is closed");
        let permit = self.permits.clone().acquire_owned().await.map_err(gone)?;
        loop {
            let Some(mut process) = self.state().idle.pop() else { break };
            if process.is_sound() {
                return Ok(Lent { process, permit });
            }
            self.broke("a process ended, or printed something, while it was idle", None);
        }
        // A start goes on when its job has gone: with callers that wait for less than it takes none
        // would ever come up.
        let (tell, told) = oneshot::channel();
        let pool = self.clone();
        tokio::spawn(async move {
            let start_at = pool.state().start_at;
            sleep_until(start_at.unwrap_or_else(Instant::now)).await;
            let started = match Process::start(&pool.start).await {
                Ok(process) => Ok(Lent { process, permit }),
                Err(why) => {
                    pool.broke(&why, None);
                    Err(HandlerError::with_code(Code::Internal, why))
                }
            };
            if let Err(Ok(lent)) = tell.send(started) {
                pool.keep(lent);
            }
        });
        told.await.unwrap_or_else(|_| {
            Err(HandlerError::with_code(Code::Internal, "the worker is ending"))
        })
    }

    /// For the next job, if there may be one.
    fn keep(&self, lent: Lent) {
        let Lent { process, permit } = lent;
        let mut state = self.state();
        if state.closed {
            tokio::spawn(process.close());
        } else {
            state.idle.push(process);
        }
        drop(state);
        // Only now: whoever waits for it finds the process.
        drop(permit);
    }

    fn broke(&self, why: &str, request: Option<&Request>) {
        let (mut state, now) = (self.state(), Instant::now());
        // Those that broke together count as one.
        if state.start_at.is_none_or(|at| at <= now) {
            let pause = FIRST_PAUSE.saturating_mul(1 << state.broken.min(10)).min(LONGEST_PAUSE);
            state.broken += 1;
            state.start_at = Some(now + pause);
        }
        drop(state);
        match request.map(|request| (request.id(), request.name())) {
            // Its failure is a warning already.
            Some((id, name)) => tracing::info!(id, name, why, "a process is replaced"),
            None => tracing::warn!(why, "a process is replaced"),
        }
    }

    /// Asks all that are idle to end, at once; what is busy ends with its job.
    pub(super) async fn close(&self) {
        let idle = {
            let mut state = self.state();
            state.closed = true;
            std::mem::take(&mut state.idle)
        };
        join_all(idle.into_iter().map(Process::close)).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
