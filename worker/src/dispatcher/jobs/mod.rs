//! The running jobs: their ids, deadlines and settlements, and the capacity that they use.
//!
//! Read and written by the dispatcher alone.

pub(super) mod rules;
mod start;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redcall_common::error::{Code, WireError};
use redcall_common::settings::WorkerSettings;
use redcall_common::time::millis;
use redcall_store::inspect::Overdue;
use redcall_store::{Outcome, Settlement};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::queue::Queue;
use crate::handler::error::HandlerError;
use crate::metrics::{JobMetrics, Metrics};
use crate::run::capacity::Capacity;
use crate::run::execute::{DEADLINE_TIMEOUT, read_deadline};
use crate::run::job::Event;
use crate::run::launch::Launched;
use crate::run::outcome;
use crate::run::settlement::PendingSettlement;

/// A running job, which uses capacity.
struct Running {
    queue: usize,
    id: String,
    launched: Launched,
    /// `true` if the job has been settled, by the handler or the worker.
    settled: bool,
    /// `true` if the job has been ended from outside, and still runs.
    overdue: bool,
    /// The deadline at which other callers' deadlines were last requested.
    read_for: Option<Instant>,
    /// The next entry of this job in `deadlines`.
    next: Instant,
}

/// The reason to end a job from outside.
pub(crate) enum EndReason {
    /// The call was cancelled.
    Cancelled,
    /// The deadline or the handler's timeout has passed.
    Late,
    /// Another worker has the job: it is not settled here.
    Lost,
}

/// See the module.
pub(crate) struct Jobs {
    /// By serial: the worker counts them itself, so that their hash needs no secret.
    running: FxHashMap<u64, Running>,
    /// Per queue: id to serial.
    by_id: Vec<HashMap<String, u64>>,
    /// Number of runs of the names that are counted.
    by_name: HashMap<String, usize>,
    /// `true` if a run ended of a name that was at its limit.
    freed_capacity: bool,
    /// When jobs are ended or dropped: one entry per running job that is not dropped yet.
    deadlines: BTreeSet<(Instant, u64)>,
    next_serial: u64,
    /// Most running jobs.
    concurrency: usize,
    /// The capacity that is used, by lanes as well.
    capacity: Arc<Capacity>,
    /// How long a job with a cancellation token may continue after the token fired.
    grace: Duration,
    metrics: Arc<Metrics>,
}

impl Jobs {
    pub(crate) fn new(
        queues: usize,
        settings: &WorkerSettings,
        capacity: Arc<Capacity>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            metrics,
            running: HashMap::default(),
            by_id: vec![HashMap::new(); queues],
            by_name: HashMap::new(),
            freed_capacity: false,
            deadlines: BTreeSet::new(),
            next_serial: 0,
            concurrency: settings.concurrency,
            capacity,
            grace: settings.cancel_grace,
        }
    }

    /// Returns the number of running jobs.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// Returns the capacity that is used: by running jobs, and by those of lanes.
    pub(crate) fn busy(&self) -> usize {
        self.capacity.used()
    }

    /// Returns `true` if no job runs, in a lane neither.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.busy() == 0
    }

    /// Returns the worker's capacity.
    pub(crate) fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// Returns the number of jobs that may start now.
    pub(crate) fn room(&self) -> usize {
        self.capacity.free()
    }

    /// Has no other job start: the worker stops.
    pub(crate) fn close(&self) {
        self.capacity.close();
    }

    /// Returns a number that is unique among the jobs of this worker.
    fn next_serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    /// Returns the number of runs of a name that is limited by its mapping, or by its pool.
    pub(crate) fn of_name(&self, name: &str) -> usize {
        self.by_name.get(name).copied().unwrap_or(0)
    }

    /// Takes the capacity of one job; `false`: there is none.
    fn take_capacity(&self) -> bool {
        self.capacity.take()
    }

    /// Gives the capacity of one job back.
    pub(super) fn give_back(&self) {
        self.capacity.give_back();
    }

    /// Takes a job of a lane, which uses its capacity already. `settled`: it has ended.
    pub(super) fn insert_adopted(
        &mut self,
        serial: u64,
        queue: usize,
        id: String,
        launched: Launched,
        settled: bool,
    ) {
        self.insert(serial, queue, id, launched);
        if let Some(running) = self.running.get_mut(&serial) {
            running.settled = settled;
        }
    }

    /// Inserts a job, whose capacity is taken.
    fn insert(&mut self, serial: u64, queue: usize, id: String, launched: Launched) {
        if launched.is_counted() {
            *self.by_name.entry(launched.name.clone()).or_default() += 1;
        }
        let next = end_of(&launched);
        self.deadlines.insert((next, serial));
        self.by_id[queue].insert(id.clone(), serial);
        let running =
            Running { queue, id, launched, settled: false, overdue: false, read_for: None, next };
        self.running.insert(serial, running);
    }

    fn remove(&mut self, serial: u64) -> Option<Running> {
        let running = self.running.remove(&serial)?;
        self.capacity.give_back();
        self.deadlines.remove(&(running.next, serial));
        let by_id = &mut self.by_id[running.queue];
        // The same request may have been leased and started again, while this run did not end.
        if let Some(other) = by_id.remove(&running.id).filter(|other| *other != serial) {
            by_id.insert(running.id.clone(), other);
        }
        let name = &running.launched.name;
        if running.launched.is_counted()
            && let Some(count) = self.by_name.get_mut(name)
        {
            // The capacity of a pool is shared: another name may wait for it.
            let limit = running.launched.max_running;
            self.freed_capacity |=
                running.launched.shares_pool || limit.is_some_and(|limit| *count >= limit);
            *count -= 1;
            if *count == 0 {
                self.by_name.remove(name);
            }
        }
        Some(running)
    }

    /// Handles a job's event.
    pub(crate) fn event(&mut self, event: Event, queues: &mut [Queue]) {
        if let Some((queue, settlement)) = self.settlement_of(event) {
            queues[queue].settle(settlement);
        }
        if std::mem::take(&mut self.freed_capacity) {
            // The poll that settled the job may have found no capacity.
            queues.iter_mut().for_each(Queue::wake);
        }
    }

    /// Handles a job's event; returns an outcome to settle, and its queue.
    fn settlement_of(&mut self, event: Event) -> Option<(usize, PendingSettlement)> {
        match event {
            Event::Settle { serial, outcome, notify } => {
                let running = self.running.get_mut(&serial)?;
                running.settled = true;
                let job_metrics = job_metrics(&running.launched);
                Some((running.queue, PendingSettlement { outcome: *outcome, notify, job_metrics }))
            }
            Event::Deadline { serial, deadline } => {
                let running = self.running.get_mut(&serial)?;
                running.launched.deadline = deadline;
                if !running.overdue {
                    let next = end_of(&running.launched);
                    self.reschedule(serial, next);
                }
                None
            }
            Event::Lost { serial } => {
                self.end(serial, &EndReason::Lost);
                None
            }
            // The loop continues, and finds the capacity.
            Event::CapacityFreed => None,
            Event::Released { serial } => {
                let running = self.remove(serial)?;
                // Unsettled: its runtime was shut down. The job had started.
                let attempt = running.launched.attempt;
                if !running.settled {
                    let (id, name) = (&running.id, &running.launched.name);
                    tracing::warn!(id, name, attempt, "rerunning a job: its runtime has shut down");
                }
                let outcome = Outcome::new(running.id, Settlement::Rerun { attempt });
                let settlement =
                    PendingSettlement::without_receiver(outcome, Some(running.launched.name));
                (!running.settled).then_some((running.queue, settlement))
            }
        }
    }

    fn reschedule(&mut self, serial: u64, next: Instant) {
        let Some(running) = self.running.get_mut(&serial) else { return };
        self.deadlines.remove(&(running.next, serial));
        running.next = next;
        self.deadlines.insert((next, serial));
    }

    /// Returns the time of the next deadline.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Ends late jobs. Their callers are answered at once; a handler that cannot be ended keeps its
    /// capacity, and is reported.
    pub(crate) fn end_late(&mut self) {
        let now = Instant::now();
        while let Some((at, serial)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now)
        {
            self.deadlines.remove(&(at, serial));
            let Some(running) = self.running.get(&serial) else { continue };
            if running.overdue {
                running.launched.abort.abort();
            } else if !self.reads_deadline(serial) {
                self.end(serial, &EndReason::Late);
            }
        }
    }

    /// Reads the deadlines of other callers that have joined the call of a late job. Returns
    /// `false` if that was done already, or is not needed.
    fn reads_deadline(&mut self, serial: u64) -> bool {
        let Some(running) = self.running.get_mut(&serial) else { return false };
        let by_mapping = running.launched.by_mapping;
        let Some(deadline) = running.launched.deadline.filter(|at| *at < by_mapping) else {
            return false;
        };
        // The offset to Redis's clock varies a little: that is not a new deadline.
        if running.read_for.is_some_and(|read_for| deadline <= read_for + DEADLINE_TIMEOUT) {
            return false;
        }
        let job = running.launched.job.upgrade().filter(|_| !running.settled);
        let Some(job) = job.filter(|job| job.request.idempotency_key.is_some()) else {
            return false;
        };
        running.read_for = Some(deadline);
        self.reschedule(serial, Instant::now() + DEADLINE_TIMEOUT);
        tokio::spawn(read_deadline(job));
        true
    }

    /// Ends the run of request `id` of a queue, if there is one.
    pub(crate) fn end_by_id(&mut self, queue: usize, id: &str, reason: &EndReason) {
        if let Some(serial) = self.by_id[queue].get(id).copied() {
            self.end(serial, reason);
        }
    }

    /// Ends a job from outside: answers its caller at once, fires its token, and drops it: at once,
    /// or after a grace if it uses its token.
    pub(super) fn end(&mut self, serial: u64, reason: &EndReason) {
        let Some(running) = self.running.get_mut(&serial) else { return };
        if running.overdue {
            return;
        }
        running.overdue = true;
        let launched = &running.launched;
        // Held before the handler is ended: with its last clone the job would be released
        // unsettled.
        let Some(job) = launched.job.upgrade() else { return };
        let (id, name) = (&running.id, &launched.name);
        match reason {
            EndReason::Lost => {
                let (queue, attempt) = (job.keys.queue.name(), launched.attempt);
                let duration_ms = millis(launched.started.elapsed());
                tracing::warn!(
                    id,
                    name,
                    queue,
                    attempt,
                    duration_ms,
                    "ending a job: its lease was lost to another worker"
                );
                if job.take() {
                    self.metrics.lost(name.clone());
                }
                running.settled = true;
            }
            EndReason::Cancelled | EndReason::Late => {
                let error = end_error(launched, reason);
                // Before the token fires: the handler's result must not win. On this thread: those
                // of the handlers may all be busy.
                if job.take() {
                    let job = job.clone();
                    tokio::spawn(
                        async move { job.settle_taken(Err(HandlerError::of(error))).await },
                    );
                }
            }
        }
        launched.cancel.cancel();
        if job.uses_token.load(Ordering::Acquire) {
            let drop_at = Instant::now() + self.grace;
            self.reschedule(serial, drop_at);
        } else {
            launched.abort.abort();
            self.deadlines.remove(&(running.next, serial));
        }
    }

    /// Reads the deadline of a running request again: callers that have joined its call may have
    /// extended it. Without an idempotency key no caller can.
    pub(crate) fn read_deadline(&self, queue: usize, id: &str) {
        let running = self.by_id[queue].get(id).and_then(|serial| self.running.get(serial));
        let job = running.filter(|running| !running.settled);
        let job = job.and_then(|running| running.launched.job.upgrade());
        if let Some(job) = job.filter(|job| job.request.idempotency_key.is_some()) {
            tokio::spawn(read_deadline(job));
        }
    }

    /// Returns the jobs that were ended and still run.
    pub(crate) fn overdue(&self) -> Vec<Overdue> {
        let overdue = self.running.values().filter(|running| running.overdue);
        let overdue = overdue.map(|running| Overdue {
            id: running.id.clone(),
            name: running.launched.name.clone(),
            running_ms: millis(running.launched.started.elapsed()),
        });
        overdue.collect()
    }

    /// Returns `true` if request `id` of a queue runs here.
    pub(crate) fn runs(&self, queue: usize, id: &str) -> bool {
        self.by_id[queue].contains_key(id)
    }

    /// Returns the number of running jobs of a queue, and of the unsettled ones.
    pub(crate) fn count(&self, queue: usize) -> (usize, usize) {
        let of = self.running.values().filter(|running| running.queue == queue);
        of.fold((0, 0), |(all, open), running| (all + 1, open + usize::from(!running.settled)))
    }

    /// Ends every unsettled job of a queue whose id is not in `held`: another worker has it.
    pub(crate) fn end_lost(&mut self, queue: usize, held: &HashSet<String>) {
        let lost = self.running.iter().filter(|(_, running)| {
            running.queue == queue && !running.settled && !held.contains(&running.id)
        });
        let lost: Vec<u64> = lost.map(|(serial, _)| *serial).collect();
        for serial in lost {
            self.end(serial, &EndReason::Lost);
        }
    }

    /// Ends all handlers, as far as possible, and has their outcomes settled; returns their number.
    /// A started job that must not be repeated fails.
    pub(crate) fn return_all(&mut self, queues: &mut [Queue]) -> usize {
        let mut returned = 0;
        for running in self.running.values_mut() {
            running.launched.cancel.cancel();
            let job = running.launched.job.upgrade().filter(|_| !running.settled);
            running.launched.abort.abort();
            if let Some(job) = job.filter(|job| job.take()) {
                running.settled = true;
                let launched = &running.launched;
                let outcome = job.spent(outcome::returned(&job));
                let settlement =
                    PendingSettlement { outcome, notify: None, job_metrics: job_metrics(launched) };
                queues[running.queue].settle(settlement);
                returned += 1;
            }
        }
        returned
    }
}

pub(super) fn job_metrics(launched: &Launched) -> JobMetrics {
    JobMetrics { job: Some(launched.name.clone()), ran: Some(launched.started.elapsed()) }
}

fn end_of(launched: &Launched) -> Instant {
    launched.deadline.map_or(launched.by_mapping, |deadline| deadline.min(launched.by_mapping))
}

fn end_error(launched: &Launched, reason: &EndReason) -> WireError {
    match reason {
        EndReason::Cancelled => WireError::new(Code::Cancelled, "the call was cancelled"),
        EndReason::Late | EndReason::Lost if end_of(launched) < launched.by_mapping => {
            let message = "the caller's timeout ended while the job was running";
            WireError::new(Code::DeadlineExceeded, message)
        }
        EndReason::Late | EndReason::Lost => {
            let message =
                format!("the handler ran longer than its timeout of {:?}", launched.timeout);
            WireError::new(Code::Timeout, message)
        }
    }
}
