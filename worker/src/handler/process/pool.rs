//! The processes of one command: their number, their owners, and the time of the next start.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redcall_common::backoff::Backoff;
use redcall_common::error::Code;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep_until};

use super::child::{Process, RequestEnd, StartSettings};
use super::crowd::{Crowd, Slot};
use crate::handler::error::{HandlerError, HandlerResult};
use crate::run::request::Request;

/// Pauses before the start after a process broke.
const RESTARTS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

/// See the module.
pub(super) struct Pool {
    start: StartSettings,
    instances: usize,
    /// Concurrent requests of one process, by the first handshake.
    width: AtomicUsize,
    /// Notified when a process may have capacity.
    changed: Arc<Notify>,
    /// One for each concurrent request of the processes.
    permits: Arc<Semaphore>,
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    idle: Vec<Process>,
    /// Processes with several concurrent requests, including those that take no further ones and
    /// have not ended yet.
    crowds: Vec<Arc<Crowd>>,
    /// Number of processes being started.
    starting: usize,
    /// Number of broken processes since the last successful request.
    broken: u32,
    /// Time of the next start.
    start_at: Option<Instant>,
    /// No further job comes.
    closed: bool,
}

/// A process that one job uses. Dropping this ends the process: its state is unknown.
struct Exclusive {
    process: Process,
    permit: OwnedSemaphorePermit,
}

/// The part of the pool that a job uses.
enum Assigned {
    Exclusive(Box<Exclusive>),
    Shared(Slot, OwnedSemaphorePermit),
}

/// The place for a request.
enum Placement {
    Free(Slot),
    /// A process that the caller starts; it counts as being started.
    Start,
    /// None, until something changes.
    None,
}

impl Pool {
    pub(super) fn new(start: StartSettings, instances: usize) -> Self {
        let permits = Arc::new(Semaphore::new(instances));
        let (width, changed) = (AtomicUsize::new(1), Arc::default());
        Self { start, instances, width, changed, permits, state: Mutex::default() }
    }

    pub(super) fn start(&self) -> &StartSettings {
        &self.start
    }

    /// Returns the number of concurrent requests of the processes.
    pub(super) fn capacity(&self) -> usize {
        self.instances * self.width.load(Ordering::Acquire)
    }

    /// Runs the job on a process.
    pub(super) async fn run(self: Arc<Self>, request: &Request) -> HandlerResult {
        let assigned = tokio::select! {
            assigned = self.assign() => assigned,
            () = request.cancelled() => {
                Err(HandlerError::with_code(Code::Cancelled, "cancelled before a process was free"))
            }
        };
        let grace = self.start.bounds.cancel_grace;
        match assigned? {
            Assigned::Exclusive(mut assigned) => {
                match assigned.process.send_request(request, grace).await {
                    RequestEnd::Done(result) => {
                        self.succeeded();
                        self.keep(*assigned);
                        result
                    }
                    RequestEnd::Broken(error) => {
                        self.broke(&error.error.message, Some(request));
                        Err(error)
                    }
                }
            }
            Assigned::Shared(mut slot, permit) => {
                let end = slot.send_request(request, self.start.bounds).await;
                // In this order: the next job with the permit finds the slot.
                drop(slot);
                drop(permit);
                match end {
                    RequestEnd::Done(result) => {
                        self.succeeded();
                        result
                    }
                    // Its task has reported the end of the process.
                    RequestEnd::Broken(error) => Err(error),
                }
            }
        }
    }

    fn succeeded(&self) {
        let mut state = self.state();
        (state.broken, state.start_at) = (0, None);
    }

    async fn assign(self: &Arc<Self>) -> Result<Assigned, HandlerError> {
        let gone = |_| HandlerError::with_code(Code::Internal, "the pool is closed");
        let permit = self.permits.clone().acquire_owned().await.map_err(gone)?;
        loop {
            let Some(mut process) = self.state().idle.pop() else { break };
            if process.is_healthy() {
                return Ok(Assigned::Exclusive(Box::new(Exclusive { process, permit })));
            }
            self.broke("an idle process ended or printed an unexpected message", None);
        }
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.place() {
                Placement::Free(slot) => return Ok(Assigned::Shared(slot, permit)),
                Placement::Start => return self.started(permit).await,
                // All processes are full: one of them retires or is being started.
                Placement::None => changed.await,
            }
        }
    }

    /// Returns a slot of a running process, or permission to start one.
    fn place(&self) -> Placement {
        let mut state = self.state();
        state.crowds.retain(|crowd| !crowd.is_over());
        state.crowds.sort_by_key(|crowd| crowd.taken());
        if let Some(slot) = state.crowds.iter().find_map(|crowd| crowd.slot()) {
            return Placement::Free(slot);
        }
        let is_shared = self.width.load(Ordering::Acquire) > 1;
        if is_shared && state.crowds.len() + state.starting >= self.instances {
            return Placement::None;
        }
        state.starting += 1;
        Placement::Start
    }

    /// Starts a process, and returns it.
    async fn started(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Assigned, HandlerError> {
        // A start continues when its job is cancelled: otherwise callers with short timeouts would
        // prevent every start.
        let (sender, started) = oneshot::channel();
        let pool = self.clone();
        tokio::spawn(async move {
            let start_at = pool.state().start_at;
            sleep_until(start_at.unwrap_or_else(Instant::now)).await;
            let started = match Process::start(&pool.start).await {
                Ok(process) => pool.adopt(process, permit),
                Err(why) => {
                    pool.state().starting -= 1;
                    pool.broke(&why, None);
                    Err(HandlerError::with_code(Code::Internal, why))
                }
            };
            pool.changed.notify_waiters();
            if let Err(Ok(Assigned::Exclusive(alone))) = sender.send(started) {
                pool.keep(*alone);
            }
        });
        started.await.unwrap_or_else(|_| {
            Err(HandlerError::with_code(Code::Internal, "the worker is stopping"))
        })
    }

    /// Adds a started process to the pool.
    fn adopt(
        self: &Arc<Self>,
        process: Process,
        permit: OwnedSemaphorePermit,
    ) -> Result<Assigned, HandlerError> {
        let width = process.concurrency;
        let mut state = self.state();
        state.starting -= 1;
        let first = self.width.load(Ordering::Acquire);
        if width == 1 && first == 1 {
            return Ok(Assigned::Exclusive(Box::new(Exclusive { process, permit })));
        }
        if first == 1 {
            self.width.store(width, Ordering::Release);
            self.permits.add_permits((width - 1) * self.instances);
        }
        let pool = Arc::downgrade(self);
        let crowd = Crowd::of(process, width, self.changed.clone(), move |why| {
            if let Some(pool) = pool.upgrade() {
                pool.broke(why, None);
            }
        });
        // A new process has capacity, unless it has already ended.
        let Some(slot) = crowd.slot() else { return Err(crowd.lost()) };
        match state.closed {
            true => crowd.retire(),
            false => state.crowds.push(crowd),
        }
        Ok(Assigned::Shared(slot, permit))
    }

    /// Keeps the process for the next job, if that is allowed.
    fn keep(&self, assigned: Exclusive) {
        let Exclusive { process, permit } = assigned;
        let mut state = self.state();
        if state.closed {
            tokio::spawn(process.close());
        } else {
            state.idle.push(process);
        }
        drop(state);
        // Last: the next job with the permit finds the process.
        drop(permit);
    }

    fn broke(&self, why: &str, request: Option<&Request>) {
        let (mut state, now) = (self.state(), Instant::now());
        // Processes that broke together count as one.
        if state.start_at.is_none_or(|at| at <= now) {
            let pause = RESTARTS.after(state.broken);
            state.broken += 1;
            state.start_at = Some(now + pause);
        }
        drop(state);
        match request.map(|request| (request.id(), request.name())) {
            // Its failure was logged as a warning already.
            Some((id, name)) => tracing::info!(id, name, why, "replacing a process"),
            None => tracing::warn!(why, "replacing a process"),
        }
    }

    /// Ends all idle processes concurrently; a busy one ends with its job.
    pub(super) async fn close(&self) {
        let (idle, crowds) = {
            let mut state = self.state();
            state.closed = true;
            (std::mem::take(&mut state.idle), std::mem::take(&mut state.crowds))
        };
        crowds.iter().for_each(|crowd| crowd.retire());
        let free = crowds.iter().filter(|crowd| crowd.taken() == 0);
        let free = join_all(free.map(|crowd| crowd.over()));
        tokio::join!(free, join_all(idle.into_iter().map(Process::close)));
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
