//! [`World`]: everything at one moment, and [`Bounds`]: how much of it there is.

use super::taken::END;
use super::worker::{Life, Pop, Send, Worker};
use crate::store::{Fault, Holder, Id, Registered, Store};

/// How much of everything there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// The number of workers that run at the same time; a crashed worker is replaced.
    pub workers: usize,
    /// How many requests are called for.
    pub requests: Id,
    /// Workers have lanes.
    pub lanes: bool,
    /// The last of the requests is due later.
    pub delayed: bool,
    /// The faults that may occur.
    pub faults: Faults,
    /// After how many crashes a request is given up.
    pub max_crashes: u8,
    /// The injected fault.
    pub fault: Option<Fault>,
}

/// How often something happens that need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Faults {
    /// Workers that crash.
    pub crashes: u8,
    /// Workers that are stopped for a time.
    pub stops: u8,
    /// Replies, or commands, that get lost.
    pub lost: u8,
    /// Handlers that fail; a failed handler is not tried again.
    pub fails: u8,
    /// Requests that are cancelled.
    pub cancels: u8,
    /// Scripts that fail at one of their commands.
    pub scripts: u8,
}

/// A violation in a step, for the properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// A worker settled a request that it had not leased.
    SettledWithoutLease,
    /// A request was started that had been cancelled before it was leased.
    StartedAfterCancel,
    /// A request was started that had been given up.
    StartedTooOften,
    /// A poll that was sent again did not get its first reply.
    OtherReply,
    /// A request was started from a pop that Redis served after its worker's registration had
    /// ended.
    StartedLate,
}

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// Redis.
    pub store: Store,
    /// The workers, in the order of the store's.
    pub workers: Vec<Worker>,
    /// How many requests have been called for, in order.
    pub called: Id,
    /// Which of them have been cancelled.
    pub cancelled: Vec<Id>,
    /// From how many workers each has been taken over.
    pub crashed: Vec<u8>,
    /// The faults that may still occur.
    pub left: Faults,
    /// The violation that occurred.
    pub wrong: Option<Wrong>,
}

impl World {
    /// How often a request has ended.
    #[must_use]
    pub fn ends(&self, id: Id) -> usize {
        self.store.frames[usize::from(id)].iter().filter(|frame| **frame == END).count()
    }

    /// Returns `true` if a caller still waits for a request.
    #[must_use]
    pub fn is_open(&self) -> bool {
        (0..self.called).any(|id| self.ends(id) == 0)
    }

    pub(super) fn requests(&self) -> Id {
        Id::try_from(self.crashed.len()).unwrap_or(Id::MAX)
    }

    /// Returns the same world in canonical form. The workers are sorted, as their order changes
    /// nothing; a worker without a trace equals one that was never started; the reply to a poll
    /// counts only while the poll may be sent again, and nothing of ended requests counts.
    pub(super) fn canonical(mut self) -> Self {
        for id in (0..self.called).filter(|id| self.ends(*id) > 0).collect::<Vec<_>>() {
            self.crashed[usize::from(id)] = 0;
            self.cancelled.retain(|one| *one != id);
        }
        for (worker, holder) in self.workers.iter_mut().zip(&mut self.store.holders) {
            if !worker.may_send_again() {
                (worker.results, holder.poll) = (None, None);
                worker.serial = if worker.send == Send::No { 0 } else { worker.serial };
            }
            for (inbox, record) in holder.lane_polls.iter_mut().enumerate() {
                let slot = worker.lane.slots.get_mut(inbox);
                if slot.as_ref().is_some_and(|slot| slot.may_send_again()) {
                    continue;
                }
                *record = None;
                if let Some(slot) = slot {
                    (slot.results, slot.serial) = (None, 0);
                }
            }
            let traceless = holder.registered == Registered::No
                && holder.inbox.is_empty()
                && holder.leases.is_empty()
                && holder.young.iter().all(Vec::is_empty)
                && worker.pop == Pop::No
                && worker.lane.out.is_empty();
            if worker.life == Life::Dead && traceless {
                *worker = Worker::default();
                *holder = Holder::default();
            }
        }
        self.sort_workers();
        // Before all have been called for, their order is fixed.
        if self.called == self.requests() {
            self.renumber();
            self.sort_workers();
        }
        self.store.dead.sort_unstable();
        self
    }

    fn sort_workers(&mut self) {
        for end in (1..self.workers.len()).rev() {
            for at in 0..end {
                let (workers, holders) = (&mut self.workers, &mut self.store.holders);
                if (&workers[at], &holders[at]) > (&workers[at + 1], &holders[at + 1]) {
                    workers.swap(at, at + 1);
                    holders.swap(at, at + 1);
                }
            }
        }
    }
}
