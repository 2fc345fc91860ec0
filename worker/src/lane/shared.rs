//! The state of a lane's inbox. Its task writes it; the dispatcher takes it over if the task is
//! stuck.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redcall_store::{Outcome, Settled};
use tokio::sync::Notify;

use crate::metrics::{JobMetrics, Metrics};
use crate::run::launch::Launched;
use crate::run::young::Young;

/// See the module.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes the task: its job has ended or needs a lease, it is recalled, or asked for a sign.
    wake: Arc<Notify>,
    /// Grows while the task runs.
    signs: AtomicU64,
    /// Number of jobs that were started.
    runs: AtomicU64,
    /// When the worker's lease on the queue ends, Redis time in ms.
    lease_ends_ms: AtomicU64,
    is_recalled: AtomicBool,
    /// `true` while the dispatcher watches the task.
    is_watched: AtomicBool,
    /// `true` if the lane has settled a job since it was armed.
    has_settled: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Number of take-overs. The task stops if it has another one than at its start.
    generation: u64,
    /// `true` from arming to the end.
    is_armed: bool,
    /// The jobs that were started and have not ended, as far as the task has seen.
    started: Vec<Started>,
    settling: Option<Arc<Settling>>,
    /// `true` once the settlement has been sent.
    is_sent: bool,
    /// Number of the last settlement.
    serial: u64,
}

/// A job that was started in the lane.
pub(crate) struct Started {
    pub(crate) id: String,
    pub(crate) serial: u64,
    pub(crate) young: Arc<Young>,
    pub(crate) launched: Launched,
}

/// Plain outcomes on their way to Redis.
pub(crate) struct Settling {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) serial: u64,
    /// The job's name and its run time, of each.
    runs: Vec<(String, Duration)>,
}

/// An inbox that the lane has handed over.
pub(crate) struct HandedOver {
    /// The jobs of its requests that were started.
    pub(crate) started: Vec<Started>,
    /// The outcomes whose settlement has no reply.
    pub(crate) settling: Option<Arc<Settling>>,
    /// `true` if that was sent.
    pub(crate) is_sent: bool,
    /// Number of the adoption's settlement.
    pub(crate) serial: u64,
    /// `true` if the connection has to be cut first: commands may be on their way.
    pub(crate) cut: bool,
    /// `true` if its last element is over the limit.
    pub(crate) large: bool,
}

/// The task no longer owns the state.
#[derive(Debug)]
pub(super) struct Seized;

impl Settling {
    /// Returns each outcome with the metrics of its run.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Outcome, JobMetrics)> {
        let metrics = |(name, ran): &(String, Duration)| JobMetrics {
            job: Some(name.clone()),
            ran: Some(*ran),
        };
        self.outcomes.iter().zip(self.runs.iter().map(metrics))
    }

    /// Counts the results of the settlement, and logs lost leases.
    pub(crate) fn count(&self, settled: &[Settled], metrics: &Metrics) {
        for ((outcome, job_metrics), settled) in self.iter().zip(settled) {
            match settled {
                Settled::LeaseLost => {
                    metrics.refused(outcome, job_metrics);
                    tracing::warn!(id = outcome.id, "settled nothing: the lease was lost");
                }
                Settled::Failed => {}
                Settled::Yes | Settled::Parked => metrics.settled(outcome, job_metrics),
            }
        }
    }
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            wake: Arc::new(Notify::new()),
            signs: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            lease_ends_ms: AtomicU64::new(0),
            is_recalled: AtomicBool::new(false),
            is_watched: AtomicBool::new(false),
            has_settled: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the state, if it still belongs to the task of this generation.
    fn own(&self, generation: u64) -> Result<MutexGuard<'_, State>, Seized> {
        Some(self.state()).filter(|state| state.generation == generation).ok_or(Seized)
    }

    pub(super) fn wake(&self) -> &Arc<Notify> {
        &self.wake
    }

    // By the dispatcher --------------------------------------------------------------------------

    /// Has the task own the state, up to its end.
    pub(super) fn arm(&self) {
        self.is_recalled.store(false, Ordering::Release);
        self.is_watched.store(false, Ordering::Release);
        self.state().is_armed = true;
    }

    pub(super) fn recall(&self) {
        self.is_recalled.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Returns the signs of life, and the number of jobs.
    pub(super) fn signs(&self) -> (u64, u64) {
        (self.signs.load(Ordering::Acquire), self.runs.load(Ordering::Acquire))
    }

    /// Ends the watch, unless another job than the `runs` so far was started.
    pub(super) fn stop_watch(&self, runs: u64) -> bool {
        self.is_watched.store(false, Ordering::SeqCst);
        self.runs.load(Ordering::SeqCst) == runs
    }

    /// Returns `true` if the lane has settled a job since it was armed.
    pub(super) fn take_settled(&self) -> bool {
        self.has_settled.swap(false, Ordering::AcqRel)
    }

    /// Returns `true` if jobs were started and are not settled yet.
    pub(super) fn has_jobs(&self) -> bool {
        let state = self.state();
        !state.started.is_empty() || state.settling.is_some()
    }

    /// Takes the inbox from an armed task; `None`: it is at rest, and its inbox empty.
    pub(super) fn seize(&self) -> Option<HandedOver> {
        let mut state = self.state();
        if !std::mem::take(&mut state.is_armed) {
            return None;
        }
        state.generation += 1;
        Some(state.hand_over(true))
    }

    /// Records that a heartbeat has renewed the worker's lease on the queue.
    pub(super) fn renewed(&self, lease_ends_ms: u64) {
        self.lease_ends_ms.store(lease_ends_ms, Ordering::Release);
    }

    // By the task --------------------------------------------------------------------------------

    pub(super) fn generation(&self) -> u64 {
        self.state().generation
    }

    pub(super) fn sign(&self) {
        self.signs.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn lease_ends_ms(&self) -> u64 {
        self.lease_ends_ms.load(Ordering::Acquire)
    }

    pub(super) fn is_recalled(&self) -> bool {
        self.is_recalled.load(Ordering::Acquire)
    }

    /// Records a job before it starts. Returns `true` if the dispatcher has to be asked to watch.
    pub(super) fn start(&self, generation: u64, started: Started) -> Result<bool, Seized> {
        self.own(generation)?.started.push(started);
        self.runs.fetch_add(1, Ordering::SeqCst);
        Ok(!self.is_watched.swap(true, Ordering::SeqCst))
    }

    /// Collects the plain outcomes of the jobs: they are settled next. Returns `true` if those are
    /// all.
    pub(super) fn collect(&self, generation: u64) -> Result<bool, Seized> {
        let mut state = self.own(generation)?;
        let count = state.started.len();
        let (mut outcomes, mut runs) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut others = Vec::new();
        for started in std::mem::take(&mut state.started) {
            match started.young.take_plain_outcome() {
                Some(outcome) => {
                    outcomes.push(*outcome);
                    let Launched { name, started, .. } = started.launched;
                    runs.push((name, started.elapsed()));
                }
                None => others.push(started),
            }
        }
        state.started = others;
        if !outcomes.is_empty() {
            state.serial += 1;
            let serial = state.serial;
            state.settling = Some(Arc::new(Settling { outcomes, serial, runs }));
            state.is_sent = false;
        }
        Ok(state.started.is_empty())
    }

    /// Returns the outcomes to settle. They count as sent from now on.
    pub(super) fn settling(&self, generation: u64) -> Result<Option<Arc<Settling>>, Seized> {
        let mut state = self.own(generation)?;
        state.is_sent = state.settling.is_some();
        Ok(state.settling.clone())
    }

    /// Records that they are settled.
    pub(super) fn settled(&self, generation: u64) -> Result<(), Seized> {
        self.own(generation)?.settling = None;
        self.has_settled.store(true, Ordering::Release);
        Ok(())
    }

    /// Ends the work with an empty inbox.
    pub(super) fn rest(&self, generation: u64) -> Result<(), Seized> {
        self.own(generation)?.is_armed = false;
        Ok(())
    }

    /// Ends the work, and gives up the inbox.
    pub(super) fn hand_over(&self, generation: u64, cut: bool) -> Result<HandedOver, Seized> {
        let mut state = self.own(generation)?;
        state.is_armed = false;
        Ok(state.hand_over(cut))
    }
}

impl State {
    fn hand_over(&mut self, cut: bool) -> HandedOver {
        let (started, settling) = (std::mem::take(&mut self.started), self.settling.take());
        started.iter().for_each(|started| started.young.adopt());
        self.serial += 1;
        let serial = settling.as_ref().map_or(self.serial, |settling| settling.serial);
        let (is_sent, large) = (std::mem::take(&mut self.is_sent), false);
        HandedOver { started, settling, is_sent, serial, cut, large }
    }
}
