//! The start of leased requests. The requests of a poll are started after the next poll is written:
//! Redis executes that one meanwhile.

use redcall_store::{Leased, Outcome, Settlement};
use tokio::task::yield_now;

use super::dispatcher::Dispatcher;
use super::launch::{Launcher, Run, spawn_all};
use super::queue::Leaving;
use crate::stop::Stop;

impl Dispatcher {
    /// Returns the free capacity; leased requests count before they are started.
    pub(super) fn free_slots(&self) -> usize {
        let fresh: usize = self.fresh.iter().map(|(_, leased)| leased.len()).sum();
        self.concurrency.saturating_sub(self.jobs.len() + fresh)
    }

    /// Waits until the poll that was just planned is written, then starts the requests of the last
    /// one. Handles nothing else in between.
    pub(super) async fn start_behind_poll(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        if let Some(poll) = &mut self.poll
            && let std::task::Poll::Ready(ended) = futures_util::poll!(poll)
        {
            // Started first, so that reading back leases finds these running.
            self.start_all_fresh();
            self.poll_ended(ended);
        }
        // The connection's own task writes.
        yield_now().await;
        self.start_all_fresh();
    }

    pub(super) fn start_all_fresh(&mut self) {
        for (queue, leased) in std::mem::take(&mut self.fresh) {
            self.start_fresh(queue, leased);
        }
    }

    /// Starts the requests of a reply, unless this worker stalled meanwhile: another worker may
    /// have taken them over. Reading back the leases finds those that are still its own.
    pub(super) fn start_fresh(&mut self, queue: usize, leased: Vec<Leased>) {
        self.note_standstill();
        if !self.queues[queue].stood_still {
            self.start(queue, leased);
        }
    }

    /// Starts leased requests up to the capacity, and returns the others to the head of the queue.
    /// A refused request uses no capacity.
    pub(super) fn start(&mut self, queue: usize, leased: Vec<Leased>) {
        let most = if self.stop > Stop::No { 0 } else { self.concurrency };
        let (mut runs, mut beyond) = (Vec::with_capacity(leased.len()), Vec::new());
        for leased in leased {
            match self.jobs.len() < most {
                true => runs.extend(self.launch(queue, leased)),
                false => beyond.push(leased.id),
            }
        }
        spawn_all(runs, &self.handlers);
        // Last one first, so that the first one ends up at the head.
        for id in beyond.into_iter().rev() {
            self.leave(queue, Outcome::new(id, Settlement::Back));
        }
    }

    fn launch(&mut self, queue: usize, leased: Leased) -> Option<Run> {
        let serial = self.jobs.next_serial();
        let launcher = Launcher {
            keys: &self.queues[queue].keys,
            mapping: &self.mapping,
            shared: &self.shared,
        };
        let launched = launcher.launch(&leased, serial, |name| self.jobs.of_name(name));
        let launched = launched.map_err(|leaving| self.queues[queue].leaving.push(*leaving));
        let (launched, run) = launched.ok()?;
        self.jobs.insert(serial, queue, leased.id, launched);
        Some(run)
    }

    fn leave(&mut self, queue: usize, outcome: Outcome) {
        self.queues[queue].leaving.push(Leaving::unheard(outcome, None));
    }
}
