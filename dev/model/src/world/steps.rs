//! The possible steps, and their effects.
//!
//! As the dispatcher, a running worker does all that it can at once: it polls, receives the reply,
//! starts jobs. Only faults come in between: another order would lead to the same worlds. All else
//! is free: handlers, heartbeats, the script of a pop, take-overs, the poll of a stopped worker.
//! Calls come first: to the queue, a late call equals a request that becomes due late.

use super::lane::Lane;
use super::script::Script;
use super::state::{Bounds, Faults, World, Wrong};
use super::step::Step;
use super::taken::{END, Taken};
use super::worker::{Life, Pop, Send, Worker};
use crate::store::{
    Beat, EnqueueExt, Fault, Id, Leased, Op, PollStep, Record, Registered, Reply, RunOutcome,
    Store, WorkerId,
};

impl Bounds {
    /// Returns `true` if there is a step without a new call or fault.
    pub(super) fn goes_on(&self, world: &World) -> bool {
        let mut steps = Vec::new();
        self.steps(world, &mut steps);
        steps.retain(|step| !step.is_free());
        // These do something in any case.
        if steps.iter().any(|step| !step.is_reply()) {
            return true;
        }
        steps
            .into_iter()
            .any(|step| self.follow(self.step(world.clone(), step)).canonical() != *world)
    }

    /// The steps of a world.
    pub(super) fn steps(&self, world: &World, steps: &mut Vec<Step>) {
        let store = &world.store;
        let numbered = || world.workers.iter().zip(0..);
        steps_of_pops(world, steps);
        if !steps.is_empty() {
            return;
        }
        if let Some((worker, at)) = numbered().find(|(worker, _)| worker.is_talking()) {
            self.steps_at_redis(world, at, steps);
            receive_steps(worker, at, steps);
            return;
        }
        let waiting = !store.queue.is_empty();
        for (worker, at) in numbered() {
            let open = world.is_open_for(at);
            let (sends, pops) = (worker.sends(waiting, open), worker.pops(waiting));
            let writes = !worker.lane_write(waiting, open, self.fault).is_empty();
            if sends {
                steps.push(Step::Send(at));
            }
            if pops {
                steps.push(Step::Pop(at));
            }
            if writes {
                steps.push(Step::LaneSends(at));
            }
            if sends || pops || writes {
                self.faults(world, at, steps);
            }
        }
        if !steps.is_empty() {
            return;
        }
        if world.called < self.requests {
            steps.push(Step::Call);
            return;
        }
        if world.left.cancels > 0 {
            for id in (0..world.called).filter(|id| world.ends(*id) == 0) {
                steps.extend([Step::Cancel(id, true), Step::Cancel(id, false)]);
                self.fails(world, Script::Cancel(id), steps);
            }
        }
        let any_runs = world.workers.iter().any(Worker::runs);
        if any_runs {
            // Requests that a failing promote has left are promoted again.
            let again =
                if self.fault == Some(Fault::NothingPromoted) { &[][..] } else { &store.due };
            for id in store.later.iter().chain(again) {
                steps.push(Step::Promote(*id));
                self.fails(world, Script::Promote(*id), steps);
            }
        }
        for (worker, at) in numbered() {
            self.steps_at_redis(world, at, steps);
            match worker.life {
                Life::Running => self.steps_of(world, at, steps),
                Life::Stopped => steps.push(Step::Go(at)),
                Life::Dead | Life::Unborn => {}
            }
            let registered = store.holder(at).registered;
            let dead = worker.life == Life::Dead && registered == Registered::Alive;
            if any_runs && (dead || registered == Registered::Ended) {
                steps.push(Step::TakeOver(at));
                if self.lanes {
                    steps.push(Step::OldTakeOver(at));
                }
                self.fails(world, Script::TakeOver(at), steps);
            }
        }
    }

    /// Returns the steps that do not need the worker.
    fn steps_at_redis(&self, world: &World, at: WorkerId, steps: &mut Vec<Step>) {
        let worker = &world.workers[usize::from(at)];
        if worker.pop == Pop::Moved {
            steps.push(Step::Leases(at));
            self.fails(world, Script::Leases(at), steps);
        }
        match &worker.send {
            Send::Sent(_, true) => steps.push(Step::ReadBack(at)),
            Send::Sent(_, false) | Send::Read(..) => {
                steps.push(Step::PollStep(at));
                self.fails(world, Script::PollStep(at), steps);
            }
            Send::No | Send::Replied(..) => {}
        }
        self.lane_steps_at_redis(world, at, steps);
        let registered = world.store.holder(at).registered;
        if worker.life == Life::Stopped && registered == Registered::Alive {
            steps.push(Step::LeaseEnds(at));
        }
        self.faults(world, at, steps);
    }

    /// Returns the faults that a worker can suffer.
    fn faults(&self, world: &World, at: WorkerId, steps: &mut Vec<Step>) {
        let worker = &world.workers[usize::from(at)];
        let Faults { crashes, stops, lost, .. } = world.left;
        let registered = world.store.holder(at).registered;
        if crashes > 0 && !matches!(worker.life, Life::Dead | Life::Unborn) {
            let moved = worker.pop == Pop::Moved;
            if moved || !worker.lane.out.is_empty() {
                steps.push(Step::Crash(at, true));
            }
            // Unregistered: only the script after the pop finds its request, see decision 0008.
            if !moved || registered != Registered::No {
                steps.push(Step::Crash(at, false));
            }
        }
        if worker.life == Life::Running {
            let waiting = !world.store.queue.is_empty();
            let open = world.is_open_for(at);
            let sends = worker.sends(waiting, open)
                || !worker.lane_write(waiting, open, self.fault).is_empty();
            if stops > 0 && worker.may_stop() && !sends {
                steps.push(Step::Stop(at));
            }
            if lost > 0 && worker.lane.may_be_lost() {
                steps.push(Step::LoseLane(at));
            }
            let follows = worker.pop == Pop::Moved && registered != Registered::No;
            let brings = matches!(&worker.pop, Pop::Replied(taken, _) if !taken.is_empty());
            if lost > 0 && (follows || brings) {
                steps.push(Step::LosePop(at));
            }
            let needs_resync = match &worker.send {
                Send::Replied(poll, _, leased, ..) => {
                    !poll.outcomes.is_empty() || !leased.is_empty()
                }
                Send::No | Send::Sent(..) | Send::Read(..) => false,
            };
            if lost > 0 && needs_resync {
                steps.push(Step::LosePoll(at));
            }
        }
    }

    /// Returns the steps of a running worker.
    fn steps_of(&self, world: &World, at: WorkerId, steps: &mut Vec<Step>) {
        let worker = &world.workers[usize::from(at)];
        let holder = world.store.holder(at);
        // Its timeout ends, or the worker ends it to read back its leases. The script after it
        // leases requests that a failed one has left in the inbox.
        let wanted = worker.needs_resync || worker.mute || !holder.inbox.is_empty();
        if worker.pop == Pop::Blocked && wanted {
            steps.push(Step::PopEnds(at));
        }
        self.lane_steps_of(world, at, steps);
        let young = worker.lane.jobs().filter(|job| job.begun && job.ended.is_none());
        let young = young.map(|job| job.taken.leased.id);
        for id in worker.jobs.iter().map(|job| job.taken.leased.id).chain(young) {
            steps.push(Step::End(at, id, true));
            if world.left.fails > 0 {
                steps.push(Step::End(at, id, false));
            }
        }
        let cancelled = |id: &Id| world.store.tombstones.contains(id);
        let news = holder
            .leases
            .iter()
            .any(|id| cancelled(id) && worker.jobs.iter().any(|job| job.taken.leased.id == *id));
        let odd = worker.finds_odd(holder.leases.len()) && !worker.needs_resync;
        let odd = odd && self.fault != Some(Fault::NotReadBack);
        let lanes = self.has_news_of_lanes(world, at);
        if holder.registered != Registered::Alive || worker.mute || news || odd || lanes {
            steps.push(Step::Beat(at));
        }
    }

    /// Takes the steps that follow at once if no other step is possible: they are not worlds of
    /// their own.
    pub(super) fn follow(&self, mut world: World) -> World {
        let mut steps = Vec::new();
        loop {
            steps.clear();
            self.steps(&world, &mut steps);
            match steps.as_slice() {
                [step] if step.is_reply() => world = self.step(world, *step),
                _ => break,
            }
        }
        world
    }

    /// Applies a step.
    pub(super) fn step(&self, mut world: World, step: Step) -> World {
        match step {
            Step::Call => self.call(&mut world),
            Step::Cancel(id, received) => world.cancel(id, received),
            Step::Promote(id) => {
                world.store.make_due(id);
                world.store.promote();
            }
            Step::Pop(at) => world.worker(at).pop = Pop::Blocked,
            Step::Moves(at) => {
                world.store.pop(at);
                world.worker(at).pop = Pop::Moved;
            }
            Step::Leases(at) | Step::PopEnds(at) => self.pop_leases(&mut world, at),
            Step::ReceivePop(at) => world.worker(at).receive_pop(self.max_crashes),
            Step::Send(at) => {
                let waiting = !world.store.queue.is_empty();
                let open = world.is_open_for(at);
                world.worker(at).plan(at, (waiting, open), self.fault);
            }
            Step::ReadBack(at) => {
                let held = self.note(&world, world.store.held(at));
                let worker = world.worker(at);
                if let Send::Sent(poll, _) = std::mem::take(&mut worker.send) {
                    worker.send = Send::Read(poll, held);
                }
            }
            Step::PollStep(at) => self.poll(&mut world, at),
            Step::ReceivePoll(at) => world.worker(at).receive_poll(self.max_crashes),
            Step::Begin(at, id) => world.begin(at, id),
            Step::End(at, id, well) => world.end(at, id, well),
            Step::Beat(at) => world.beat(at, self.fault),
            Step::LeaseEnds(at) => world.store.end_lease(at),
            Step::TakeOver(at) => world.take_over(at),
            Step::LosePop(at) => {
                world.left.lost -= 1;
                world.worker(at).lose_pop(self.fault);
            }
            Step::LosePoll(at) => {
                world.left.lost -= 1;
                world.worker(at).lose_poll(self.fault);
            }
            Step::Crash(at, follows) => {
                world.left.crashes -= 1;
                world.worker(at).crash(follows);
                world.start_another(self.lanes);
            }
            Step::Stop(at) => {
                world.left.stops -= 1;
                world.worker(at).life = Life::Stopped;
            }
            Step::Go(at) => world.worker(at).life = Life::Running,
            Step::Fails(script, way) => self.fail(&mut world, script, way),
            Step::OldTakeOver(at) => world.old_take_over(at),
            lane => self.lane_step(&mut world, lane),
        }
        world
    }

    fn call(&self, world: &mut World) {
        let id = world.called;
        world.called += 1;
        if self.delayed && world.called == self.requests {
            world
                .store
                .enqueue_ext(0, &EnqueueExt { id, waited: false, later: true, pending: None });
        } else {
            world.store.enqueue(0, &[(id, false)]);
        }
    }

    /// Adds the checker's knowledge to requests that have just been leased.
    pub(super) fn note(&self, world: &World, leased: Vec<Leased>) -> Vec<Taken> {
        let taken = leased.into_iter().map(|leased| Taken {
            leased,
            cancelled: world.cancelled.contains(&leased.id),
            poisoned: world.crashed[usize::from(leased.id)] >= self.max_crashes,
        });
        taken.collect()
    }

    fn pop_leases(&self, world: &mut World, at: WorkerId) {
        let reply = world.store.poll(&PollStep::take(at, 0));
        let taken = self.note(world, reply.leased);
        let worker = world.worker(at);
        worker.owns.extend(taken.iter().map(|taken| taken.leased.id));
        let dead = worker.life == Life::Dead;
        worker.pop = if dead { Pop::No } else { Pop::Replied(taken, reply.state) };
    }

    fn poll(&self, world: &mut World, at: WorkerId) {
        let Some((poll, held)) = world.sent(at) else { return };
        let repeats = world.store.repeats(&poll);
        let reply = world.store.poll(&poll);
        self.replied(world, poll, held, reply, repeats);
    }

    /// A poll's script has run.
    pub(super) fn replied(
        &self,
        world: &mut World,
        mut poll: PollStep,
        held: Option<Vec<Taken>>,
        reply: Reply,
        repeats: bool,
    ) {
        let at = poll.worker;
        let taken = self.note(world, reply.leased.clone());
        let worker = world.worker(at);
        let results_before = worker.results.take().filter(|_| poll.again);
        let fenced = repeats || worker.settled(&poll, &reply);
        worker.owns.extend(reply.leased.iter().map(|leased| leased.id));
        if results_before.as_ref().is_some_and(|before| *before != reply.results) {
            world.wrong = Some(Wrong::OtherReply);
        } else if !fenced {
            world.wrong = Some(Wrong::SettledWithoutLease);
        }
        let worker = world.worker(at);
        if !poll.outcomes.is_empty() {
            worker.results = Some(reply.results.clone());
        }
        // By which number it is known is the order's affair.
        poll.worker = 0;
        worker.send = Send::Replied(poll, reply.results, taken, reply.state, held);
    }
}

/// Redis serves blocked pops before anything else, and any of them may be the first.
fn steps_of_pops(world: &World, steps: &mut Vec<Step>) {
    if world.store.queue.is_empty() {
        return;
    }
    for (worker, at) in world.workers.iter().zip(0..) {
        if worker.pop == Pop::Blocked {
            steps.push(Step::Moves(at));
        }
        if worker.lane.is_blocked() {
            steps.push(Step::LaneMoves(at));
        }
    }
}

/// Returns the steps in which a worker receives a reply and starts jobs.
fn receive_steps(worker: &Worker, at: WorkerId, steps: &mut Vec<Step>) {
    if matches!(worker.pop, Pop::Replied(..)) {
        steps.push(Step::ReceivePop(at));
    }
    if matches!(worker.send, Send::Replied(..)) {
        steps.push(Step::ReceivePoll(at));
    }
    if !worker.lane.back.is_empty() {
        steps.push(Step::LaneReceives(at));
    }
    let waiting = worker.jobs.iter().filter(|job| !job.begun);
    steps.extend(waiting.map(|job| Step::Begin(at, job.taken.leased.id)));
    let young = worker.lane.jobs().filter(|job| !job.begun && job.ended.is_none());
    steps.extend(young.map(|job| Step::Begin(at, job.taken.leased.id)));
}

impl World {
    pub(super) fn worker(&mut self, at: WorkerId) -> &mut Worker {
        &mut self.workers[usize::from(at)]
    }

    /// Returns the poll that a worker has sent, and the leases that were read back before it.
    pub(super) fn sent(&mut self, at: WorkerId) -> Option<(PollStep, Option<Vec<Taken>>)> {
        let (mut poll, held) = match std::mem::take(&mut self.worker(at).send) {
            Send::Sent(poll, _) => (poll, None),
            Send::Read(poll, held) => (poll, Some(held)),
            other => {
                self.worker(at).send = other;
                return None;
            }
        };
        poll.worker = at;
        Some((poll, held))
    }

    fn cancel(&mut self, id: Id, received: bool) {
        self.left.cancels -= 1;
        self.cancelled.push(id);
        self.cancelled.sort_unstable();
        let holder = self.store.live(id);
        self.store.cancel(id);
        if let Some(at) = holder.filter(|at| received && self.workers[usize::from(*at)].runs()) {
            self.worker(at).cancel(id);
        } else if received {
            let running = self.workers.iter_mut().filter(|worker| worker.runs());
            running.for_each(|worker| _ = worker.lane.needs_lease(id));
        }
    }

    fn begin(&mut self, at: WorkerId, id: Id) {
        let worker = self.worker(at);
        let job = worker.jobs.iter_mut().find(|job| job.taken.leased.id == id && !job.begun);
        let (taken, late) = match job {
            Some(job) => {
                job.begun = true;
                (job.taken, false)
            }
            None => {
                let Some(young) = worker.lane.job_mut(id, false) else { return };
                young.begun = true;
                (young.taken, young.late)
            }
        };
        if late {
            self.wrong = Some(Wrong::StartedLate);
        }
        let Taken { cancelled, poisoned, .. } = taken;
        if cancelled {
            self.wrong = Some(Wrong::StartedAfterCancel);
        } else if poisoned {
            self.wrong = Some(Wrong::StartedTooOften);
        }
    }

    /// A handler that fails is tried again once.
    fn end(&mut self, at: WorkerId, id: Id, well: bool) {
        let worker = self.worker(at);
        let place = worker.jobs.iter().position(|job| job.taken.leased.id == id);
        let record = match place {
            Some(place) => worker.jobs.remove(place).taken.leased.info.record,
            None => Record::default(),
        };
        let op = match well {
            true => Op::Answer(END),
            false if record.fails == 0 => Op::Retry(record.attempt + 1, None),
            false => Op::DeadLetter(Some(END)),
        };
        match worker.lane.job_mut(id, true).filter(|_| place.is_none()) {
            Some(young) => {
                young.ended = Some(op);
                if !Store::is_plain(op) {
                    worker.lane.needs_lease(id);
                }
            }
            None if place.is_none() => return,
            None => worker.to_settle.push(RunOutcome { id, op }),
        }
        self.left.fails -= u8::from(!well);
    }

    fn beat(&mut self, at: WorkerId, fault: Option<Fault>) {
        let beaten = self.store.heartbeat(Beat { worker: at, maps: false });
        let worker = self.worker(at);
        worker.mute = false;
        let odd = worker.finds_odd(beaten.held) && fault != Some(Fault::NotReadBack);
        worker.needs_resync |= !beaten.known || odd;
        if !beaten.known {
            worker.lane.doubt();
        }
        for id in beaten.cancelled {
            worker.cancel(id);
            worker.lane.needs_lease(id);
        }
    }

    fn start_another(&mut self, lanes: bool) {
        let unborn = self.workers.iter().position(|worker| worker.life == Life::Unborn);
        let Some(at) = unborn.and_then(|at| WorkerId::try_from(at).ok()) else { return };
        self.worker(at).life = Life::Running;
        self.store.heartbeat(Beat { worker: at, maps: false });
        if lanes {
            self.worker(at).lane = Lane::opened();
            self.store.open_lane(at);
        }
    }
}
