//! `poll.lua`, and the blocked pop before it.

use super::end::RunOutcome;
use super::state::{
    Fault, Id, Letter, Record, Registered, SettleResult, Store, UNREADABLE, WorkerId,
};

/// The history of a request before it was leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LeaseInfo {
    /// Every caller has cancelled it.
    pub cancelled: bool,
    /// The record of its runs.
    pub record: Record,
}

/// A request that is the worker's now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leased {
    /// Which.
    pub id: Id,
    /// Its history.
    pub info: LeaseInfo,
}

/// The state of the queue for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Requests may be leased.
    Open,
    /// The queue is paused.
    Paused,
    /// The worker's own lease has ended.
    Expired,
}

/// One poll.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PollStep {
    /// The worker that polls.
    pub worker: WorkerId,
    /// How many to lease at most.
    pub take: usize,
    /// `true` if parked requests are taken first.
    pub parked: bool,
    /// The runs that have ended.
    pub outcomes: Vec<RunOutcome>,
    /// Its number.
    pub serial: u8,
    /// `true` if it was sent before, and its reply was lost.
    pub again: bool,
}

/// The reply to a poll.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reply {
    /// One per outcome.
    pub results: Vec<SettleResult>,
    /// The leased requests, in order.
    pub leased: Vec<Leased>,
    /// Length of the queue afterwards.
    pub length: usize,
    /// `true` if a name has parked requests.
    pub parked: bool,
    /// The state of the queue for its worker.
    pub state: State,
}

impl PollStep {
    /// A poll that settles nothing.
    #[must_use]
    pub fn take(worker: WorkerId, take: usize) -> Self {
        Self { worker, take, parked: false, outcomes: Vec::new(), serial: 0, again: false }
    }
}

/// The length of a queue that is only known not to be empty, or whose inbox is not.
const UNCOUNTED: usize = 1_000_000_000;

impl Store {
    /// `BLMOVE` of the queue's head to a worker's inbox. Returns `true` if there was one.
    pub fn pop(&mut self, worker: WorkerId) -> bool {
        let popped = !self.queue.is_empty();
        if popped {
            let id = self.queue.remove(0);
            self.holder_mut(worker).inbox.push(id);
        }
        popped
    }

    /// `poll.lua`.
    pub fn poll(&mut self, poll: &PollStep) -> Reply {
        let results = self.settle_all(poll, None);
        self.lease_all(poll, results)
    }

    /// The second half: leases as many requests as fit.
    pub(super) fn lease_all(&mut self, poll: &PollStep, results: Vec<SettleResult>) -> Reply {
        let worker = poll.worker;
        let state = match self.holder(worker).registered {
            _ if self.paused => State::Paused,
            Registered::Alive => State::Open,
            Registered::No | Registered::Ended => State::Expired,
        };
        let (mut leased, mut popped) = (Vec::new(), 0);
        let ignored = self.is(Fault::InboxIgnored);
        if state == State::Open && !ignored {
            // One per poll.
            popped = self.holder(worker).inbox.len().min(1);
            leased = self.lease_some(worker, popped, |store, at| &mut store.holder_mut(at).inbox);
        } else if !ignored {
            self.inbox_to_queue(worker);
        }
        if state == State::Open {
            if poll.parked {
                self.fill(worker, poll.take, &mut leased, |store, _| &mut store.parked);
                self.names_parked &= !self.parked.is_empty();
            }
            self.fill(worker, poll.take, &mut leased, |store, _| &mut store.queue);
        }
        let rests = !self.queue.is_empty() || !self.holder(worker).inbox.is_empty();
        let length = match popped {
            0 => self.queue.len(),
            _ if rests => UNCOUNTED,
            _ => 0,
        };
        let parked = self.names_parked;
        Reply { results, leased, length, parked, state }
    }

    /// Returns `true` if a poll has taken effect already.
    pub(crate) fn repeats(&self, poll: &PollStep) -> bool {
        let known = self.holder(poll.worker).poll.as_ref();
        poll.again && known.is_some_and(|(serial, _)| *serial == poll.serial)
    }

    /// The first half: settles the ended runs, except one whose commands fail.
    pub(super) fn settle_all(
        &mut self,
        poll: &PollStep,
        fails: Option<usize>,
    ) -> Vec<SettleResult> {
        if let Some((_, results)) = &self.holder(poll.worker).poll
            && self.repeats(poll)
        {
            return results.clone();
        }
        let outcomes = poll.outcomes.iter().enumerate();
        let settle = |(at, outcome): (usize, &RunOutcome)| match Some(at) == fails {
            true => SettleResult::Kept,
            false => self.settle(poll.worker, *outcome),
        };
        let results: Vec<SettleResult> = outcomes.map(settle).collect();
        if !results.is_empty() && !self.is(Fault::PollForgotten) {
            self.holder_mut(poll.worker).poll = Some((poll.serial, results.clone()));
            self.ran();
        }
        results
    }

    /// Leases from the head of a list until `take` are leased: an element that is refused takes no
    /// place.
    fn fill(
        &mut self,
        worker: WorkerId,
        take: usize,
        leased: &mut Vec<Leased>,
        list: fn(&mut Self, WorkerId) -> &mut Vec<Id>,
    ) {
        while leased.len() < take && !list(self, worker).is_empty() {
            let count = (take - leased.len()).min(list(self, worker).len());
            leased.extend(self.lease_some(worker, count, list));
        }
    }

    /// Leases the first `count` requests of a list.
    fn lease_some(
        &mut self,
        worker: WorkerId,
        count: usize,
        list: fn(&mut Self, WorkerId) -> &mut Vec<Id>,
    ) -> Vec<Leased> {
        if count == 0 {
            return Vec::new();
        }
        let (ids, mut leased) = (list(self, worker)[..count].to_vec(), Vec::new());
        let remove = |store: &mut Self| drop(list(store, worker).drain(..count));
        let lease = |store: &mut Self| {
            for id in ids {
                leased.extend(store.lease(worker, id));
                store.ran();
            }
        };
        self.moves(remove, lease);
        leased
    }

    /// Moves the inbox back to the queue, each request by one command.
    pub(super) fn inbox_to_queue(&mut self, worker: WorkerId) {
        while let Some(id) = self.holder_mut(worker).inbox.pop() {
            self.queue.insert(0, id);
            self.ran();
        }
    }

    pub(super) fn lease(&mut self, worker: WorkerId, id: Id) -> Option<Leased> {
        if id == UNREADABLE || self.live(id).is_some() {
            self.dead.push(Letter { id, invalid: true });
            return None;
        }
        self.holder_mut(worker).leases.push(id);
        Some(Leased { id, info: self.info(id) })
    }

    fn info(&self, id: Id) -> LeaseInfo {
        let cancelled = self.tombstones.contains(&id) && !self.is(Fault::TombstonesIgnored);
        let record = self.record(id).filter(|_| !cancelled).unwrap_or_default();
        LeaseInfo { cancelled, record }
    }

    /// Returns the leases of a worker.
    #[must_use]
    pub fn held(&self, worker: WorkerId) -> Vec<Leased> {
        let leases = self.holder(worker).leases.iter();
        let info = |id: Id| {
            let record = self.record(id).unwrap_or_default();
            LeaseInfo { cancelled: self.info(id).cancelled, record }
        };
        leases.map(|id| Leased { id: *id, info: info(*id) }).collect()
    }
}
