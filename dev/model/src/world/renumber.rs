//! Requests are alike: which of them has which number changes nothing. They are numbered by where
//! they are met first, so that worlds that differ by numbers alone are one.

use super::lane::{Cmd, Lane, Received};
use super::state::World;
use super::taken::Taken;
use super::worker::{Pop, Send, Worker};
use crate::store::{Id, PollStep, RunOutcome};

/// Old numbers to new ones.
struct Numbers {
    new: Vec<Option<Id>>,
    next: Id,
}

impl Numbers {
    fn change(&mut self, id: &mut Id) {
        let new = &mut self.new[usize::from(*id)];
        if new.is_none() {
            *new = Some(self.next);
            self.next += 1;
        }
        *id = new.unwrap_or(*id);
    }

    fn all(&mut self, ids: &mut [Id]) {
        ids.iter_mut().for_each(|id| self.change(id));
    }

    fn taken(&mut self, taken: &mut [Taken]) {
        taken.iter_mut().for_each(|taken| self.change(&mut taken.leased.id));
    }

    fn outcomes(&mut self, outcomes: &mut [RunOutcome]) {
        outcomes.iter_mut().for_each(|outcome| self.change(&mut outcome.id));
    }

    fn poll(&mut self, poll: &mut PollStep) {
        self.outcomes(&mut poll.outcomes);
    }

    fn worker(&mut self, worker: &mut Worker) {
        worker.jobs.iter_mut().for_each(|job| self.change(&mut job.taken.leased.id));
        self.outcomes(&mut worker.to_settle);
        self.outcomes(&mut worker.resend);
        if let Pop::Replied(taken, _) = &mut worker.pop {
            self.taken(taken);
        }
        match &mut worker.send {
            Send::No => {}
            Send::Sent(poll, _) => self.poll(poll),
            Send::Read(poll, held) => {
                self.poll(poll);
                self.taken(held);
            }
            Send::Replied(poll, _, leased, _, held) => {
                self.poll(poll);
                self.taken(leased);
                held.iter_mut().for_each(|held| self.taken(held));
            }
        }
        self.all(&mut worker.owns);
        worker.owns.sort_unstable();
        self.lane(&mut worker.lane);
    }

    fn lane(&mut self, lane: &mut Lane) {
        for slot in &mut lane.slots {
            slot.jobs.iter_mut().for_each(|job| self.change(&mut job.taken.leased.id));
            self.outcomes(&mut slot.settling);
        }
        for cmd in &mut lane.out {
            match cmd {
                Cmd::Settle(.., outcomes) => self.outcomes(outcomes),
                Cmd::Gate(_, id) => self.change(id),
                Cmd::Adopt(.., outcomes, started) => {
                    self.outcomes(outcomes);
                    self.all(started);
                }
                Cmd::Pop(_) | Cmd::Take(..) => {}
            }
        }
        for received in &mut lane.back {
            match received {
                Received::Popped(_, young, _) => self.change(&mut young.taken.leased.id),
                Received::Took(_, taken, _) => {
                    taken.iter_mut().for_each(|young| self.change(&mut young.taken.leased.id));
                }
                Received::Adopted(_, Some((_, leased))) => self.taken(leased),
                Received::Adopted(_, None) | Received::Settled(..) | Received::Nothing(_) => {}
            }
        }
    }

    /// Moves the values from the old numbers to the new ones.
    fn moved<T: Clone>(&self, values: &[T]) -> Vec<T> {
        let mut moved = values.to_vec();
        for (value, new) in values.iter().zip(&self.new) {
            moved[usize::from(new.unwrap_or_default())] = value.clone();
        }
        moved
    }
}

impl World {
    /// Renumbers the requests. Only after all calls: their order is fixed before.
    pub(super) fn renumber(&mut self) {
        let mut numbers = Numbers { new: vec![None; self.crashed.len()], next: 0 };
        let store = &mut self.store;
        for (worker, holder) in self.workers.iter_mut().zip(&mut store.holders) {
            numbers.all(&mut holder.inbox);
            numbers.all(&mut holder.leases);
            holder.young.iter_mut().for_each(|inbox| numbers.all(inbox));
            numbers.worker(worker);
        }
        numbers.all(&mut store.queue);
        numbers.all(&mut store.later);
        numbers.all(&mut store.due);
        for at in 0..self.crashed.len() {
            // A request without any trace.
            numbers.change(&mut Id::try_from(at).unwrap_or_default());
        }
        if numbers.new.iter().zip(0..).all(|(new, old)| *new == Some(old)) {
            return;
        }
        numbers.all(&mut store.tombstones);
        store.tombstones.sort_unstable();
        store.dead.iter_mut().for_each(|letter| numbers.change(&mut letter.id));
        store.records = numbers.moved(&store.records);
        store.frames = numbers.moved(&store.frames);
        numbers.all(&mut self.cancelled);
        self.cancelled.sort_unstable();
        self.crashed = numbers.moved(&self.crashed);
    }
}
