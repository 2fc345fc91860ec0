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
        let (mut runs, mut over_capacity) = (Vec::with_capacity(leased.len()), Vec::new());
        for leased in leased {
            match self.take_capacity() {
                true => runs.extend(self.launch(index, leased, setup, queue)),
                false => over_capacity.push(leased.id),
            }
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
        queue: &mut Queue,
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
                queue.settle(*settlement);
                None
            }
        }
    }
}
