//! The steps of a lane, and their effects.

use super::{Cmd, Received, took, young};
use crate::store::{
    Adopt, Adopted, Fault, Gate, Id, Inbox, LaneEntry, LanePoll, LeaseInfo, Leased, Registered,
    RunOutcome, SettleResult, Store, WorkerId,
};
use crate::world::script::Script;
use crate::world::state::{Bounds, World, Wrong};
use crate::world::step::Step;
use crate::world::worker::Life;

/// A way in which the next script of a lane may fail: the store that it leaves, and its reply.
type Way = (Store, Option<Adopted>);

fn poll_of(worker: WorkerId, inbox: Inbox, serial: u8, outcomes: &[RunOutcome]) -> LanePoll {
    LanePoll { worker, inbox, serial, outcomes: outcomes.to_vec(), take: 0 }
}

fn leased(ids: &[Id]) -> Vec<Leased> {
    ids.iter().map(|id| Leased { id: *id, info: LeaseInfo::default() }).collect()
}

impl Bounds {
    /// Returns the steps of a lane that do not need its worker.
    pub(in crate::world) fn lane_steps_at_redis(
        &self,
        world: &World,
        at: WorkerId,
        steps: &mut Vec<Step>,
    ) {
        let lane = &world.workers[usize::from(at)].lane;
        if !lane.out.is_empty() && !lane.is_blocked() {
            steps.push(Step::LaneRuns(at));
            self.fails(world, Script::Lane(at), steps);
        }
    }

    /// Returns the steps of a running worker's lane.
    pub(in crate::world) fn lane_steps_of(
        &self,
        world: &World,
        at: WorkerId,
        steps: &mut Vec<Step>,
    ) {
        let lane = &world.workers[usize::from(at)].lane;
        if lane.ends_pop() {
            steps.push(Step::LanePopEnds(at));
        }
        for (slot, inbox) in lane.slots.iter().zip(0..) {
            let runs = slot.jobs.iter().any(|job| job.begun && job.ended.is_none());
            if runs && !slot.adopts {
                steps.push(Step::LaneAges(at, inbox));
            }
        }
    }

    /// Returns `true` if a heartbeat of this worker finds something in a lane inbox.
    pub(in crate::world) fn has_news_of_lanes(&self, world: &World, at: WorkerId) -> bool {
        let lane = &world.workers[usize::from(at)].lane;
        if !self.lanes {
            return false;
        }
        let cancelled = |id: Id| world.store.tombstones.contains(&id);
        let slots = lane.slots.iter().filter(|slot| !slot.adopts);
        let mut jobs = slots.flat_map(|slot| &slot.jobs);
        let late = world.store.holders.iter().any(|holder| {
            let holds = holder.young.iter().any(|inbox| !inbox.is_empty());
            holds && holder.lane != LaneEntry::No && holder.registered == Registered::No
        });
        jobs.any(|job| cancelled(job.taken.leased.id))
            || (late && !matches!(self.fault, Some(Fault::LateIgnored | Fault::LanesNotReleased)))
    }

    /// Applies a step of a lane.
    pub(in crate::world) fn lane_step(&self, world: &mut World, step: Step) {
        match step {
            Step::LaneSends(at) => {
                let waiting = !world.store.queue.is_empty();
                let open = world.is_open_for(at);
                let write = world.worker(at).lane_write(waiting, open, self.fault);
                world.worker(at).lane_send(write);
            }
            Step::LaneMoves(at) => {
                let Some(Cmd::Pop(inbox)) = world.worker(at).lane.out.first().cloned() else {
                    return;
                };
                if let Some(id) = world.store.lane_pop(at, inbox) {
                    world.worker(at).lane.out[0] = Cmd::Gate(inbox, id);
                }
            }
            Step::LaneRuns(at) => self.lane_runs(world, at),
            Step::LaneReceives(at) => world.worker(at).receive_lane(self.fault),
            Step::LanePopEnds(at) => {
                let worker = world.worker(at);
                if let Cmd::Pop(inbox) = worker.lane.out.remove(0) {
                    worker.lane.back.push(Received::Nothing(inbox));
                }
            }
            Step::LaneAges(at, inbox) => {
                world.worker(at).lane.slots[usize::from(inbox)].adopts = true;
            }
            Step::LoseLane(at) => {
                world.left.lost -= 1;
                world.worker(at).lane.lose();
            }
            _ => {}
        }
    }

    /// Redis runs the next command.
    fn lane_runs(&self, world: &mut World, at: WorkerId) {
        let cmd = world.worker(at).lane.out.remove(0);
        let received = match cmd {
            Cmd::Settle(inbox, serial, outcomes) => {
                let before = world.store.holder(at).young[usize::from(inbox)].clone();
                let results = world.store.lane_settle(&poll_of(at, inbox, serial, &outcomes));
                world.check_fence(&before, &outcomes, &results);
                if let Some(slot) = world.worker(at).lane.slots.get_mut(usize::from(inbox)) {
                    slot.results = Some(results.clone());
                }
                Received::Settled(inbox, results)
            }
            Cmd::Gate(inbox, id) => {
                let gate = world.store.gate(at);
                let taken = self.note(world, leased(&[id]));
                let late = gate == Gate::Expired;
                let popped = young(taken, late).into_iter().next();
                popped
                    .map_or(Received::Nothing(inbox), |young| Received::Popped(inbox, young, gate))
            }
            Cmd::Take(inbox, take) => {
                let poll = LanePoll { take, ..poll_of(at, inbox, 0, &[]) };
                let reply = world.store.lane_poll(&poll);
                let taken = self.note(world, leased(&reply.taken));
                took(inbox, &reply, taken)
            }
            Cmd::Adopt(inbox, serial, again, outcomes, started) => {
                let adopt = Adopt { worker: at, inbox, serial, again, outcomes, started };
                let before = world.store.holder(at).young[usize::from(inbox)].clone();
                let record = world.store.holder(at).lane_polls[usize::from(inbox)].clone();
                let repeats = again && record.is_some_and(|(known, _)| known == serial);
                let reply = world.store.adopt(&adopt);
                if !repeats {
                    world.check_fence(&before, &adopt.outcomes, &reply.results);
                }
                self.adopted(world, at, &adopt, reply)
            }
            // Served before, see `LaneMoves`.
            Cmd::Pop(inbox) => Received::Nothing(inbox),
        };
        world.lane_replies(at, received);
    }

    /// An adoption has run.
    fn adopted(&self, world: &mut World, at: WorkerId, adopt: &Adopt, reply: Adopted) -> Received {
        let taken = self.note(world, reply.leased);
        let worker = world.worker(at);
        worker.owns.extend(taken.iter().map(|taken| taken.leased.id));
        let slot = worker.lane.slots.get_mut(usize::from(adopt.inbox));
        let results = Some(reply.results.clone()).filter(|results| !results.is_empty());
        let before = slot.and_then(|slot| std::mem::replace(&mut slot.results, results));
        let before = before.filter(|_| adopt.again);
        let settled =
            before.is_some_and(|results| results.iter().all(|one| *one == SettleResult::Yes));
        if settled && reply.results.iter().any(|results| *results != SettleResult::Yes) {
            world.wrong = Some(Wrong::OtherReply);
        }
        Received::Adopted(adopt.inbox, Some((reply.results, taken)))
    }
}

impl World {
    /// Returns `true` if a worker has a lane, and its gate is open.
    pub(in crate::world) fn is_open_for(&self, at: WorkerId) -> bool {
        self.workers[usize::from(at)].lane.open && self.store.gate(at) == Gate::Open
    }

    /// A lane's reply: a dead worker gets none.
    fn lane_replies(&mut self, at: WorkerId, received: Received) {
        let worker = self.worker(at);
        if worker.life != Life::Dead {
            worker.lane.back.push(received);
        }
    }

    /// Each settled request was in the inbox.
    fn check_fence(&mut self, before: &[Id], outcomes: &[RunOutcome], results: &[SettleResult]) {
        let settled =
            outcomes.iter().zip(results).filter(|(_, results)| **results == SettleResult::Yes);
        if settled.into_iter().any(|(outcome, _)| !before.contains(&outcome.id)) {
            self.wrong = Some(Wrong::SettledWithoutLease);
        }
    }

    /// The ways in which the next script of a lane may fail.
    pub(in crate::world) fn lane_ways(&self, at: WorkerId) -> Vec<Way> {
        let store = &self.store;
        let plain = |stores: Vec<Store>| stores.into_iter().map(|left| (left, None)).collect();
        match self.workers[usize::from(at)].lane.out.first() {
            Some(Cmd::Settle(inbox, serial, outcomes)) => {
                plain(store.lane_settle_fails(&poll_of(at, *inbox, *serial, outcomes)))
            }
            Some(Cmd::Take(inbox, take)) => plain(
                store.lane_take_fails(&LanePoll { take: *take, ..poll_of(at, *inbox, 0, &[]) }),
            ),
            Some(Cmd::Adopt(inbox, serial, again, outcomes, started)) => {
                let (outcomes, started) = (outcomes.clone(), started.clone());
                let (inbox, serial, again) = (*inbox, *serial, *again);
                store.adopt_fails(&Adopt { worker: at, inbox, serial, again, outcomes, started })
            }
            Some(Cmd::Pop(_) | Cmd::Gate(..)) | None => Vec::new(),
        }
    }

    /// The next script of a lane fails.
    pub(in crate::world) fn lane_fails(&mut self, at: WorkerId, (left, reply): Way) {
        self.left.scripts -= 1;
        let before = std::mem::replace(&mut self.store, left);
        let received = match self.worker(at).lane.out.remove(0) {
            Cmd::Settle(inbox, _, outcomes) => {
                Received::Settled(inbox, vec![SettleResult::Kept; outcomes.len()])
            }
            Cmd::Take(inbox, _) => Received::Took(inbox, Vec::new(), None),
            Cmd::Adopt(inbox, _, _, outcomes, _) => {
                let Some(reply) = reply else {
                    self.owns_young(at);
                    return self.lane_replies(at, Received::Adopted(inbox, None));
                };
                let before = before.holder(at).young[usize::from(inbox)].clone();
                self.check_fence(&before, &outcomes, &reply.results);
                let taken: Vec<_> = reply
                    .leased
                    .into_iter()
                    .map(|leased| crate::world::taken::Taken {
                        leased,
                        cancelled: false,
                        poisoned: false,
                    })
                    .collect();
                self.owns_young(at);
                Received::Adopted(inbox, Some((reply.results, taken)))
            }
            Cmd::Pop(inbox) | Cmd::Gate(inbox, _) => Received::Nothing(inbox),
        };
        self.lane_replies(at, received);
    }

    /// The leases of a script that failed belong to its worker, too.
    fn owns_young(&mut self, at: WorkerId) {
        let leases = self.store.holder(at).leases.clone();
        self.worker(at).owns = leases;
    }
}
