//! The start of leased requests. The requests of a poll are started after the next poll is written:
//! Redis executes that one meanwhile.

use redcall_store::{Leased, Outcome, Settlement};
use tokio::task::yield_now;

use super::dispatcher::Dispatcher;
use super::launch::{Launcher, RunFuture, spawn_all};
use super::queue::PendingSettlement;
use crate::stop::Stop;

impl Dispatcher {
    /// Returns the free capacity; leased requests count before they are started.
    pub(super) fn free_capacity(&self) -> usize {
        let unstarted: usize = self.unstarted.iter().map(|(_, leased)| leased.len()).sum();
        self.concurrency.saturating_sub(self.jobs.len() + unstarted)
    }

    /// Waits until the poll that was just planned is written, then starts the requests of the last
    /// one. Handles nothing else in between.
    pub(super) async fn start_behind_poll(&mut self) {
        if self.unstarted.is_empty() {
            return;
        }
        if let Some(poll) = &mut self.poll
            && let std::task::Poll::Ready(finished) = futures_util::poll!(poll)
        {
            // Started first, so that reading back leases finds these running.
            self.start_all_leased();
            self.poll_ended(finished);
        }
        // The connection's own task writes.
        yield_now().await;
        self.start_all_leased();
    }

    pub(super) fn start_all_leased(&mut self) {
        for (queue, leased) in std::mem::take(&mut self.unstarted) {
            self.start_leased(queue, leased);
        }
    }

    /// Starts the requests of a reply, unless this worker stalled meanwhile: another worker may
    /// have taken them over. Reading back the leases finds those that are still its own.
    pub(super) fn start_leased(&mut self, queue: usize, leased: Vec<Leased>) {
        self.note_stall();
        if !self.queues[queue].stalled {
            self.start(queue, leased);
        }
    }

    /// Starts leased requests up to the capacity, and returns the others to the head of the queue.
    /// A refused request uses no capacity.
    pub(super) fn start(&mut self, queue: usize, leased: Vec<Leased>) {
        let max = if self.stop > Stop::No { 0 } else { self.concurrency };
        let (mut runs, mut over_capacity) = (Vec::with_capacity(leased.len()), Vec::new());
        for leased in leased {
            match self.jobs.len() < max {
                true => runs.extend(self.launch(queue, leased)),
                false => over_capacity.push(leased.id),
            }
        }
        spawn_all(runs, &self.handlers);
        // Last one first, so that the first one ends up at the head.
        for id in over_capacity.into_iter().rev() {
            self.settle(queue, Outcome::new(id, Settlement::Back));
        }
    }

    fn launch(&mut self, queue: usize, leased: Leased) -> Option<RunFuture> {
        let serial = self.jobs.next_serial();
        let launcher = Launcher {
            keys: &self.queues[queue].keys,
            mapping: &self.mapping,
            shared: &self.shared,
        };
        let launched = launcher.launch(&leased, serial, |name| self.jobs.of_name(name));
        let launched =
            launched.map_err(|settlement| self.queues[queue].to_settle.push(*settlement));
        let (launched, run) = launched.ok()?;
        self.jobs.insert(serial, queue, leased.id, launched);
        Some(run)
    }

    fn settle(&mut self, queue: usize, outcome: Outcome) {
        self.queues[queue].to_settle.push(PendingSettlement::without_receiver(outcome, None));
    }
}
