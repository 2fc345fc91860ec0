//! The processes of one command: how many there may be, who has one, when the next may start.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redcall_common::error::Code;
use tokio::sync::{Semaphore, SemaphorePermit};
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
    permits: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    idle: Vec<Process>,
    /// How many broke since one last did what it was asked.
    broken: u32,
    /// When the next may be started.
    start_at: Option<Instant>,
}

/// A process that a job has. Dropped, it ends: nobody knows what it is doing.
struct Lent<'a> {
    process: Process,
    permit: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(start: Start, instances: usize) -> Self {
        Self { start, permits: Semaphore::new(instances), state: Mutex::default() }
    }

    pub(super) fn start(&self) -> &Start {
        &self.start
    }

    /// Has a process do the job.
    pub(super) async fn run(&self, request: &Request) -> Ending {
        let lent = tokio::select! {
            lent = self.lend() => lent,
            () = request.cancelled() => {
                Err(HandlerError::with_code(Code::Cancelled, "cancelled before a process was free"))
            }
        };
        let Lent { mut process, permit } = lent?;
        let asked = process.ask(request, self.start.cancel_grace).await;
        let ending = match asked {
            Asked::Ended(ending) => {
                let mut state = self.state();
                (state.broken, state.start_at) = (0, None);
                state.idle.push(process);
                ending
            }
            Asked::Broken(error) => {
                self.broke(&error.error.message);
                Err(error)
            }
        };
        // Only now: whoever waits for it finds the process.
        drop(permit);
        ending
    }

    async fn lend(&self) -> Result<Lent<'_>, HandlerError> {
        let gone = |_| HandlerError::with_code(Code::Internal, "the pool is closed");
        let permit = self.permits.acquire().await.map_err(gone)?;
        loop {
            let (idle, start_at) = {
                let mut state = self.state();
                (state.idle.pop(), state.start_at)
            };
            if let Some(mut process) = idle {
                if process.is_sound() {
                    return Ok(Lent { process, permit });
                }
                self.broke("a process ended, or printed something, while it was idle");
                continue;
            }
            sleep_until(start_at.unwrap_or_else(Instant::now)).await;
            let process = Process::start(&self.start).await.map_err(|why| {
                self.broke(&why);
                HandlerError::with_code(Code::Internal, why)
            })?;
            return Ok(Lent { process, permit });
        }
    }

    fn broke(&self, why: &str) {
        let mut state = self.state();
        let pause = FIRST_PAUSE.saturating_mul(1 << state.broken.min(10)).min(LONGEST_PAUSE);
        state.broken += 1;
        state.start_at = Some(Instant::now() + pause);
        drop(state);
        tracing::warn!(why, ?pause, "a process is replaced");
    }

    /// Asks all that are idle to end, at once.
    pub(super) async fn close(&self) {
        let idle = std::mem::take(&mut self.state().idle);
        let grace = self.start.cancel_grace;
        join_all(idle.into_iter().map(|process| process.close(grace))).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
