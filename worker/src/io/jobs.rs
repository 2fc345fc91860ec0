//! The jobs that hold a slot: who they are, when they end, what they settled.
//!
//! Read and written by the dispatcher alone.

use std::collections::{BTreeSet, HashMap, HashSet};

use redcall_common::store::inspect::Overdue;
use redcall_common::store::{Outcome, Settlement};
use tokio::time::Instant;

use super::launch::Launched;
use super::queue::Leaving;
use crate::handler::HandlerError;
use crate::request::{Event, Request};

/// A job that holds a slot.
struct Running {
    queue: usize,
    id: String,
    launched: Launched,
    /// Whether it has been settled, by whomever.
    settled: bool,
    /// Answered as out of time, and still there.
    overdue: bool,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Jobs {
    running: HashMap<u64, Running>,
    /// When jobs are ended; one entry per running job that is not overdue.
    deadlines: BTreeSet<(Instant, u64)>,
    next_serial: u64,
}

impl Jobs {
    /// How many slots are taken.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// A number that no other job of this worker has.
    pub(crate) fn next_serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    pub(crate) fn insert(&mut self, serial: u64, queue: usize, id: String, launched: Launched) {
        self.deadlines.insert((launched.ends_at, serial));
        let running = Running { queue, id, launched, settled: false, overdue: false };
        self.running.insert(serial, running);
    }

    /// What a job says of itself; what leaves for which queue, if anything does.
    pub(crate) fn event(&mut self, event: Event) -> Option<(usize, Leaving)> {
        match event {
            Event::Settle { serial, settlement, heard } => {
                let running = self.running.get_mut(&serial)?;
                running.settled = true;
                let outcome = Outcome { id: running.id.clone(), settlement };
                Some((running.queue, Leaving { outcome, heard }))
            }
            Event::Released { serial } => {
                let running = self.running.remove(&serial)?;
                self.deadlines.remove(&(running.launched.ends_at, serial));
                // Unsettled: its runtime went away under it.
                let outcome = Outcome { id: running.id, settlement: Settlement::Back };
                (!running.settled).then_some((running.queue, Leaving { outcome, heard: None }))
            }
        }
    }

    /// When the next job is out of time.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Ends jobs that are out of time. Their callers hear at once; what cannot be ended keeps its
    /// slot and is shown.
    pub(crate) fn end_late(&mut self) {
        let now = Instant::now();
        while let Some((at, serial)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now)
        {
            self.deadlines.remove(&(at, serial));
            let Some(running) = self.running.get_mut(&serial) else { continue };
            running.overdue = true;
            // Held before the handler is ended: with its last clone the job would go unsettled.
            let job = running.launched.job.upgrade();
            running.launched.abort.abort();
            if let Some(job) = job {
                let error = HandlerError(running.launched.timeout.clone());
                let name = &running.launched.name;
                tracing::warn!(id = running.id, name, code = %error.0.code, "out of time");
                // On this thread: the handlers' ones may all be spinning.
                tokio::spawn(async move { Request::new(job).conclude(Err(error)).await });
            }
        }
    }

    /// Jobs that were out of time and still run.
    pub(crate) fn overdue(&self) -> Vec<Overdue> {
        let overdue = self.running.values().filter(|running| running.overdue);
        let millis = |since: Instant| u64::try_from(since.elapsed().as_millis());
        let overdue = overdue.map(|running| Overdue {
            id: running.id.clone(),
            name: running.launched.name.clone(),
            running_ms: millis(running.launched.started).unwrap_or(u64::MAX),
        });
        overdue.collect()
    }

    /// Ids of the jobs of one queue.
    pub(crate) fn ids_of(&self, queue: usize) -> HashSet<&str> {
        let of = self.running.values().filter(|running| running.queue == queue);
        of.map(|running| running.id.as_str()).collect()
    }

    /// Ends all handlers, as far as they can be ended.
    pub(crate) fn abort_all(&self) {
        self.running.values().for_each(|running| running.launched.abort.abort());
    }
}
