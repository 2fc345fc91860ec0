//! A worker's lane: `BLMOVE` to a lane inbox and the gate after it, `lane_settle.lua`,
//! `lane_poll.lua` and `adopt.lua`.
//!
//! A request in a lane inbox is *young*: its place there is its lease.

use super::end::{Op, RunOutcome};
use super::poll::Leased;
use super::state::{Fault, Id, Inbox, LaneEntry, Registered, SettleResult, Store, WorkerId};

/// The state of the queue for a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gate {
    /// Requests may start.
    Open,
    /// The queue has more than plain requests, or is paused: `poll.lua` has to check them.
    Closed,
    /// The worker's own lease has ended.
    Expired,
}

/// One call of `lane_poll.lua`; with nothing to take, of `lane_settle.lua`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LanePoll {
    /// The worker that polls.
    pub worker: WorkerId,
    /// The inbox that it settles and fills.
    pub inbox: Inbox,
    /// Its number.
    pub serial: u8,
    /// The runs that have ended: of all requests in the inbox.
    pub outcomes: Vec<RunOutcome>,
    /// How many to take at most.
    pub take: usize,
}

/// The reply to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneReply {
    /// One per outcome.
    pub results: Vec<SettleResult>,
    /// The requests that are in the inbox now.
    pub taken: Vec<Id>,
    /// The state of the queue; `None` if the poll took nothing because of the inbox.
    pub gate: Option<Gate>,
}

/// One call of `adopt.lua`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Adopt {
    /// The worker.
    pub worker: WorkerId,
    /// The inbox that it empties.
    pub inbox: Inbox,
    /// The number of the settlement.
    pub serial: u8,
    /// `true` if it was sent before, and its reply was lost.
    pub again: bool,
    /// The runs that have ended.
    pub outcomes: Vec<RunOutcome>,
    /// The requests that were started and have not ended: they get real leases.
    pub started: Vec<Id>,
}

/// The reply to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Adopted {
    /// One per outcome.
    pub results: Vec<SettleResult>,
    /// The requests that have a real lease now.
    pub leased: Vec<Leased>,
    /// How many went back to the head of the queue.
    pub back: usize,
}

impl Store {
    fn young(&mut self, worker: WorkerId, inbox: Inbox) -> &mut Vec<Id> {
        &mut self.holder_mut(worker).young[usize::from(inbox)]
    }

    /// A lane opens: its worker enters the registry of lanes.
    pub fn open_lane(&mut self, worker: WorkerId) {
        self.holder_mut(worker).lane = LaneEntry::Open;
    }

    /// The last pop of a lane that sends no heartbeats any more has ended.
    pub fn end_lane(&mut self, worker: WorkerId) {
        self.holder_mut(worker).lane = LaneEntry::Past;
    }

    /// `BLMOVE` of the queue's head to a lane inbox.
    pub fn lane_pop(&mut self, worker: WorkerId, inbox: Inbox) -> Option<Id> {
        let id = (!self.queue.is_empty()).then(|| self.queue.remove(0))?;
        self.young(worker, inbox).push(id);
        Some(id)
    }

    /// The gate after a pop, and in front of a take.
    #[must_use]
    pub fn gate(&self, worker: WorkerId) -> Gate {
        let records = self.records.iter().any(Option::is_some);
        let special = self.paused || records || !self.tombstones.is_empty() || self.names_parked;
        match self.holder(worker).registered {
            Registered::No | Registered::Ended => Gate::Expired,
            Registered::Alive if special && !self.is(Fault::GateIgnored) => Gate::Closed,
            Registered::Alive => Gate::Open,
        }
    }

    /// `lane_poll.lua`.
    pub fn lane_poll(&mut self, poll: &LanePoll) -> LaneReply {
        let results = self.lane_settle(poll);
        let mut reply = LaneReply { results, taken: Vec::new(), gate: None };
        if poll.take > 0 && self.young(poll.worker, poll.inbox).is_empty() {
            let gate = self.gate(poll.worker);
            if gate == Gate::Open {
                reply.taken = self.lane_take(poll);
            }
            reply.gate = Some(gate);
        }
        reply
    }

    /// The first half, and the whole of `lane_settle.lua`: settles an inbox whose requests have all
    /// ended. The fence is the number of its elements.
    pub fn lane_settle(&mut self, poll: &LanePoll) -> Vec<SettleResult> {
        let LanePoll { worker, inbox, serial, ref outcomes, .. } = *poll;
        let held = self.young(worker, inbox).len();
        let counted = held == outcomes.len() || self.is(Fault::RefilledFirst);
        if outcomes.is_empty() {
            return Vec::new();
        }
        if held == 0 && !self.is(Fault::NoFence) {
            return vec![SettleResult::LeaseLost; outcomes.len()];
        }
        if !counted && !self.is(Fault::NoFence) {
            return vec![SettleResult::Kept; outcomes.len()];
        }
        let results = vec![SettleResult::Yes; outcomes.len()];
        let remove = |store: &mut Self| store.young(worker, inbox).clear();
        self.moves(remove, |store| {
            for outcome in outcomes {
                store.store_end(outcome.id, outcome.op);
                store.ran();
            }
        });
        self.record_lane(worker, inbox, serial, &results);
        results
    }

    fn record_lane(
        &mut self,
        worker: WorkerId,
        inbox: Inbox,
        serial: u8,
        results: &[SettleResult],
    ) {
        if !results.is_empty() && !self.is(Fault::PollForgotten) {
            self.holder_mut(worker).lane_polls[usize::from(inbox)] =
                Some((serial, results.to_vec()));
            self.ran();
        }
    }

    fn lane_take(&mut self, poll: &LanePoll) -> Vec<Id> {
        let count = poll.take.min(self.queue.len());
        let taken = self.queue[..count].to_vec();
        let ids = taken.clone();
        self.moves(
            |store| drop(store.queue.drain(..count)),
            |store| store.young(poll.worker, poll.inbox).extend(ids),
        );
        taken
    }

    /// `adopt.lua`: settles the ended requests of an inbox, leases the started ones, and returns
    /// all others to the head of the queue.
    pub fn adopt(&mut self, adopt: &Adopt) -> Adopted {
        self.adopt_but(adopt, None)
    }

    /// The same, if the commands of one outcome fail: its request is leased instead.
    pub(super) fn adopt_but(&mut self, adopt: &Adopt, fails: Option<usize>) -> Adopted {
        let Adopt { worker, inbox, serial, again, ref outcomes, ref started } = *adopt;
        let record = self.holder(worker).lane_polls[usize::from(inbox)].clone();
        let known =
            record.filter(|(known, _)| again && *known == serial).map(|(_, results)| results);
        let mut results =
            known.clone().unwrap_or_else(|| vec![SettleResult::LeaseLost; outcomes.len()]);
        let mut open: Vec<usize> =
            if known.is_some() { Vec::new() } else { (0..outcomes.len()).collect() };
        let (mut started, mut back) = (started.clone(), Vec::new());
        let mut leased = Vec::new();
        let ids = self.young(worker, inbox).clone();
        let many = ids.len();
        let store_all = |store: &mut Self| {
            for id in ids {
                let place = open.iter().position(|at| outcomes[*at].id == id);
                if let Some(at) = place.map(|place| open.remove(place)) {
                    if Some(at) == fails {
                        results[at] = SettleResult::Kept;
                        leased.extend(store.lease(worker, id));
                    } else {
                        results[at] = store.store_end(id, outcomes[at].op);
                    }
                    store.ran();
                } else if let Some(place) = started.iter().position(|one| *one == id) {
                    started.remove(place);
                    leased.extend(store.lease(worker, id));
                    store.ran();
                } else {
                    back.push(id);
                }
            }
            let holder = store.holder_mut(worker);
            if !leased.is_empty() && holder.registered == Registered::No {
                // So that another worker takes its leases over, unless it comes back.
                holder.registered = Registered::Ended;
                store.ran();
            }
            if !store.is(Fault::AdoptDrops) {
                store.queue.splice(0..0, back.iter().copied());
                store.ran();
            }
        };
        let remove = |store: &mut Self| drop(store.young(worker, inbox).drain(..many));
        self.moves(remove, store_all);
        if known.is_none() {
            self.record_lane(worker, inbox, serial, &results);
        }
        Adopted { results, leased, back: back.len() }
    }

    /// The stores that a failing settlement of an inbox leaves; undone, it keeps all leases.
    #[must_use]
    pub fn lane_settle_fails(&self, poll: &LanePoll) -> Vec<Self> {
        let stopped = self.fails(|store| drop(store.lane_settle(poll)));
        std::iter::once(self.clone()).chain(stopped).collect()
    }

    /// The stores that a failing take leaves.
    #[must_use]
    pub fn lane_take_fails(&self, poll: &LanePoll) -> Vec<Self> {
        let stopped = self.fails(|store| drop(store.lane_poll(poll)));
        std::iter::once(self.clone()).chain(stopped).collect()
    }

    /// The stores that a failing adoption leaves, each with its reply; none if it ends with an
    /// error.
    #[must_use]
    pub fn adopt_fails(&self, adopt: &Adopt) -> Vec<(Self, Option<Adopted>)> {
        let mut ways = vec![(self.clone(), None)];
        let stopped = self.fails(|store| drop(store.adopt(adopt)));
        ways.extend(stopped.into_iter().map(|left| (left, None)));
        for at in 0..adopt.outcomes.len() {
            let mut left = self.clone();
            let reply = left.adopt_but(adopt, Some(at));
            if reply.results.get(at) == Some(&SettleResult::Kept) {
                ways.push((left, Some(reply)));
            }
        }
        ways
    }

    /// Returns `true` if an outcome may be settled without a real lease.
    #[must_use]
    pub fn is_plain(op: Op) -> bool {
        matches!(op, Op::Answer(_) | Op::Done)
    }
}
