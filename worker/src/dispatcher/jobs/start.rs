//! The start of leased requests, up to the capacity.

use redcall_store::{Leased, Outcome, Settlement};

use super::Jobs;
use crate::dispatcher::queue::Queue;
use crate::dispatcher::setup::Setup;
use crate::run::launch::{Launcher, RunFuture, spawn_all};
use crate::run::settlement::PendingSettlement;

impl Jobs {
    /// Starts requests of queue `index` up to the capacity, and returns the others to the head of
    /// the queue. A refused request uses no capacity.
    pub(crate) fn start(
        &mut self,
        index: usize,
        leased: Vec<Leased>,
        setup: &Setup,
        queue: &mut Queue,
    ) {
        let count = leased.len();
        let (mut runs, mut over_capacity) = (Vec::with_capacity(count), Vec::new());
        let mut refused = 0;
        for leased in leased {
            match self.take_capacity() {
                true => runs.extend(self.launch(index, leased, setup, (queue, &mut refused))),
                false => over_capacity.push(leased.id),
            }
        }
        if count > 0 {
            queue.note_refusals(refused, count);
        }
        spawn_all(runs, &setup.handlers);
        // Last one first, so that the first one ends up at the head.
        for id in over_capacity.into_iter().rev() {
            let back = Outcome::new(id, Settlement::Back);
            queue.settle(PendingSettlement::without_receiver(back, None));
        }
    }

    fn launch(
        &mut self,
        index: usize,
        leased: Leased,
        setup: &Setup,
        (queue, refused): (&mut Queue, &mut usize),
    ) -> Option<RunFuture> {
        let serial = self.next_serial();
        let launcher =
            Launcher { keys: queue.keys(), mapping: &setup.mapping, shared: &setup.shared };
        match launcher.launch(&leased, serial, |name| self.of_name(name)) {
            Ok((launched, run)) => {
                self.insert(serial, index, leased.id, launched);
                Some(run)
            }
            Err(settlement) => {
                self.give_back();
                // One over the concurrency of its name is not refused: it comes again.
                let is_back = matches!(settlement.outcome.settlement, Settlement::Back);
                *refused += usize::from(!is_back);
                queue.settle(*settlement);
                None
            }
        }
    }
}
