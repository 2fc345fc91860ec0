//! The take-over of a worker's requests.

use super::state::World;
use super::worker::Life;
use crate::store::{Id, WorkerId};

impl World {
    pub(super) fn take_over(&mut self, at: WorkerId) {
        if self.workers[usize::from(at)].life == Life::Dead {
            self.store.end_lease(at);
        }
        let young: Vec<Id> = self.store.holder(at).young.concat();
        if self.store.release(at, false).is_none() {
            return;
        }
        let gone = self.store.holder(at).young.iter().all(Vec::is_empty);
        for id in young.into_iter().filter(|_| gone) {
            self.crashed[usize::from(id)] += 1;
        }
        self.forget_leases(at);
    }

    /// The same by a worker of before lanes.
    pub(super) fn old_take_over(&mut self, at: WorkerId) {
        if self.workers[usize::from(at)].life == Life::Dead {
            self.store.end_lease(at);
        }
        if self.store.release_without_lanes(at).is_some() {
            self.forget_leases(at);
        }
    }

    fn forget_leases(&mut self, at: WorkerId) {
        let worker = self.worker(at);
        worker.lane.slots.iter_mut().for_each(|slot| slot.results = None);
        worker.results = None;
        for id in std::mem::take(&mut worker.owns) {
            self.crashed[usize::from(id)] += 1;
        }
    }
}
