//! The loop of a lane: pops a request, or takes several, runs them, and settles them with the next
//! pop.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use redcall_store::{
    Gate, LaneKeys, LaneOps as _, LanePoll, LanePop, LanePopped, LaneWrite, Moved, Session as _,
    Settled, StoreError, WorkerKeys,
};
use tokio::sync::mpsc;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep_until};

use super::messages::{Arm, End, Event, Parts, Why};
use super::shared::{Seized, Settling, Shared, Started};
use crate::run::capacity::BATCH_MAX;
use crate::run::launch::{Launcher, RunFuture};
use crate::run::young::Young;
use crate::time::REDIS_TIMEOUT;

/// How long a job stays in the lane. Then it gets a real lease, and the lane is free.
const YOUNG: Duration = Duration::from_millis(1);

/// See the module.
pub(super) struct Task {
    queue: usize,
    own: Arc<WorkerKeys>,
    parts: Parts,
    keys: Arc<LaneKeys>,
    shared: Arc<Shared>,
    pop: LanePop,
    generation: u64,
    /// `true` once the worker is in the queue's registry of lanes.
    is_registered: bool,
    /// Number of jobs so far.
    jobs: u64,
    /// `true` if the last pop has moved an element over the limit.
    popped_large: bool,
}

/// The end of the work: at rest, or with a reason to hand over the inbox.
type Ended = Result<End, Seized>;

/// The next step of a lane.
enum Step {
    /// Settle, and pop.
    Pop(Duration),
    /// Settle, and take up to so many, for which capacity was taken.
    Take(usize),
    /// Settle, and come to rest.
    Rest,
}

/// The requests that a step has brought.
struct Brought {
    raws: Vec<Vec<u8>>,
    /// Length of the queue behind them.
    length: usize,
    /// Why they do not start, if so.
    blocked: Option<Why>,
    /// `true` if the inbox is not empty in any case.
    is_held: bool,
}

impl Task {
    pub(super) fn new(
        (queue, own): (usize, Arc<WorkerKeys>),
        parts: Parts,
        keys: Arc<LaneKeys>,
        shared: Arc<Shared>,
        pop: LanePop,
    ) -> Self {
        let (is_registered, popped_large) = (false, false);
        let (generation, jobs) = (0, 0);
        Self { queue, own, parts, keys, shared, pop, generation, is_registered, jobs, popped_large }
    }

    /// Works whenever it is armed. Ends with the sender of `arms`.
    pub(super) async fn run(mut self, mut arms: mpsc::Receiver<Arm>) {
        while let Some(arm) = arms.recv().await {
            match self.work(&arm).await {
                Ok(end) => self.send(Event::Ended(Box::new(end))),
                Err(Seized) => {
                    // The dispatcher has cut the connection.
                    self.pop.close();
                    self.generation = self.shared.generation();
                    self.send(Event::Ready);
                }
            }
        }
    }

    fn send(&self, event: Event) {
        let _ = self.parts.events.send((self.queue, event));
    }

    async fn work(&mut self, arm: &Arm) -> Ended {
        if let Err(error) = self.register().await {
            return self.rest(Why::Failed(error), None);
        }
        let (began, mut length) = (Instant::now(), None);
        let waiting = if arm.waits { BATCH_MAX } else { 0 };
        loop {
            self.shared.sign();
            let settling = self.shared.settling(self.generation)?;
            let step = self.next_step(arm, began, length.unwrap_or(waiting));
            let brought = match step {
                Step::Rest => match self.settle(settling.as_deref(), None).await {
                    Ok(true) => None,
                    Ok(false) => return self.hand_over(Why::Slow, None, false),
                    Err(error) => return self.fail(error),
                },
                Step::Pop(block) => match self.settle(settling.as_deref(), Some(block)).await {
                    Ok(true) => {
                        self.shared.settled(self.generation)?;
                        match self.popped(block).await {
                            Ok(popped) => Some(self.read(popped)),
                            Err(error) => return self.fail(error),
                        }
                    }
                    // The pop behind it is in flight.
                    Ok(false) => return self.hand_over(Why::Slow, None, true),
                    Err(error) => return self.fail(error),
                },
                Step::Take(take) => match self.take(settling.as_deref(), take).await {
                    Ok(Some(brought)) => Some(brought),
                    Ok(None) => return self.hand_over(Why::Slow, None, false),
                    Err(error) => return self.fail(error),
                },
            };
            if let Err(seized) = self.shared.settled(self.generation) {
                // These will not start here.
                let unused = brought.filter(|brought| brought.blocked.is_none());
                self.parts.capacity.give_back_many(unused.map_or(0, |brought| brought.raws.len()));
                return Err(seized);
            }
            let Some(brought) = brought else { return self.rest(Why::Idle, length) };
            length = Some(brought.length);
            self.parts.priority.note(self.queue, brought.length > 0);
            if let Some(why) = brought.blocked {
                return match brought.is_held {
                    true => self.hand_over(why, None, false),
                    false => self.rest(why, length),
                };
            }
            let all_started = self.run_all(&brought.raws, arm).await?;
            if !(self.shared.collect(self.generation)? && all_started) {
                return self.hand_over(Why::Slow, length, false);
            }
        }
    }

    /// Decides about the next step. `length`: of the queue, as last seen.
    fn next_step(&self, arm: &Arm, began: Instant, length: usize) -> Step {
        // Together at most the time that the dispatcher expects.
        let (block, elapsed) = (arm.block * 4 / 5, began.elapsed());
        if self.shared.is_recalled() || elapsed > block {
            return Step::Rest;
        }
        if length == 0 {
            return if elapsed > arm.block / 5 { Step::Rest } else { Step::Pop(block) };
        }
        let is_first = self.parts.priority.is_first(self.queue);
        match is_first.then(|| self.parts.capacity.take_up_to(length.min(BATCH_MAX))) {
            Some(take) if take > 0 => Step::Take(take),
            _ => Step::Rest,
        }
    }

    /// Enters the registry of lanes, before the first pop of a connection.
    async fn register(&mut self) -> Result<(), StoreError> {
        if self.is_registered && self.pop.is_connected() {
            return Ok(());
        }
        let Parts { job, lease, .. } = &self.parts;
        job.link.open_lane(&self.own, *lease, REDIS_TIMEOUT).await?;
        self.is_registered = true;
        Ok(())
    }

    /// Sends outcomes, if there are any, and a pop behind them. Returns `false` if Redis kept the
    /// inbox as it was.
    async fn settle(
        &mut self,
        settling: Option<&Settling>,
        pop: Option<Duration>,
    ) -> Result<bool, StoreError> {
        let keys = self.keys.clone();
        let poll = poll_of(&keys, settling, 0);
        if settling.is_none() && pop.is_none() {
            return Ok(true);
        }
        self.pop.write(&LaneWrite { settlement: &poll, pop }).await?;
        let Some(settling) = settling else { return Ok(true) };
        let settled = self.pop.settled(&poll).await?;
        Ok(self.count(settling, &settled))
    }

    /// Settles, and takes requests. `None`: Redis kept the inbox as it was.
    async fn take(
        &mut self,
        settling: Option<&Settling>,
        take: usize,
    ) -> Result<Option<Brought>, StoreError> {
        let keys = self.keys.clone();
        let poll = poll_of(&keys, settling, take);
        let reply = self.pop.poll(&poll).await;
        let taken = reply.as_ref().map_or(0, |reply| reply.taken.len());
        // That of the others is given back when they do not start.
        self.parts.capacity.give_back_many(take.saturating_sub(taken));
        let reply = reply?;
        if settling.is_some_and(|settling| !self.count(settling, &reply.settled)) {
            return Ok(None);
        }
        if !reply.refused.is_empty() {
            self.send(Event::Refused(reply.refused));
        }
        if let Some(problem) = &reply.trouble {
            let queue = self.keys.own.queue.name();
            tracing::warn!(queue, problem, "leaving requests to polls: Redis stopped a lane");
        }
        let blocked = match reply.gate {
            Some(Gate::Open) => reply.trouble.map(|_| Why::Special),
            Some(Gate::Closed) => Some(Why::Special),
            Some(Gate::Expired) => Some(self.expired()),
            None => Some(Why::Slow),
        };
        let is_held = reply.gate.is_none() || !reply.taken.is_empty();
        if blocked.is_some() {
            self.parts.capacity.give_back_many(taken);
        }
        let length = reply.length.unwrap_or(0);
        Ok(Some(Brought { raws: reply.taken, length, blocked, is_held }))
    }

    /// Counts the results of a settlement; returns `false` if Redis kept the inbox as it was.
    fn count(&self, settling: &Settling, settled: &[Settled]) -> bool {
        let is_kept = settled.contains(&Settled::Failed);
        if !is_kept {
            settling.count(settled, &self.parts.metrics);
        }
        !is_kept
    }

    /// Waits for the pop. Shows signs of life meanwhile.
    async fn popped(&mut self, block: Duration) -> Result<LanePopped, StoreError> {
        let popping = self.pop.popped(&self.keys, block);
        tokio::pin!(popping);
        loop {
            tokio::select! {
                biased;
                popped = &mut popping => return popped,
                () = self.shared.wake().notified() => self.shared.sign(),
            }
        }
    }

    /// Reads the gate behind a pop, and takes the capacity of its request.
    fn read(&mut self, popped: LanePopped) -> Brought {
        let alive = self.shared.lease_ends_ms() > self.parts.job.link.now_ms();
        let gate = popped.gate(alive);
        // Their number is not known.
        let length = if popped.waits { BATCH_MAX } else { 0 };
        let is_held = popped.moved.is_some();
        self.popped_large = popped.moved == Some(Moved::TooLarge);
        let (raws, blocked) = match (gate, popped.moved) {
            (_, None) => (Vec::new(), Some(Why::Idle)),
            (Gate::Expired, _) => (Vec::new(), Some(self.expired())),
            (Gate::Open, Some(Moved::Request(raw))) => match self.parts.capacity.take() {
                true => (vec![raw], None),
                false => (Vec::new(), Some(Why::Idle)),
            },
            (Gate::Open | Gate::Closed, _) => (Vec::new(), Some(Why::Special)),
        };
        Brought { raws, length, blocked, is_held }
    }

    /// The worker's own lease has ended: its entry in the registry may be gone, too.
    fn expired(&mut self) -> Why {
        self.is_registered = false;
        Why::Expired
    }

    /// Starts requests, in order, up to the first that is not plain, and runs them while they are
    /// young. Returns `true` if it has started all.
    async fn run_all(&mut self, raws: &[Vec<u8>], arm: &Arm) -> Result<bool, Seized> {
        let until = Instant::now() + YOUNG;
        let mut running = Vec::new();
        for (index, raw) in raws.iter().enumerate() {
            let (young, mut run) = match self.launch(raw, arm) {
                Ok(Some(launched)) => launched,
                Ok(None) => {
                    self.parts.capacity.give_back_many(raws.len() - index);
                    self.wait(running, until).await;
                    return Ok(false);
                }
                Err(seized) => {
                    // This one has given its own back.
                    self.parts.capacity.give_back_many(raws.len() - index - 1);
                    return Err(seized);
                }
            };
            // Most end at once: no other task, and no other thread, is needed for them.
            let first = poll_fn(|context| Poll::Ready(run.as_mut().poll(context)));
            if unconstrained(first).await.is_pending() {
                tokio::spawn(run);
                running.push(young);
            }
            self.shared.sign();
        }
        self.wait(running, until).await;
        Ok(true)
    }

    /// Starts a request, whose capacity is taken; `None` if it is not plain.
    fn launch(&mut self, raw: &[u8], arm: &Arm) -> Result<Option<(Arc<Young>, RunFuture)>, Seized> {
        self.jobs += 1;
        // Unlike the serials of the dispatcher and of other lanes.
        let serial = 1 << 63 | (self.queue as u64) << 48 | self.jobs;
        let Parts { job, capacity, .. } = &self.parts;
        let young = Arc::new(Young::new(self.shared.wake().clone(), capacity.clone()));
        let launcher = Launcher { keys: &self.own, mapping: &arm.mapping, shared: job };
        let Some((launched, run)) = launcher.launch_young(raw, serial, young.clone()) else {
            return Ok(None);
        };
        let id = launched.job.upgrade().map(|job| job.request.id.clone()).unwrap_or_default();
        let started = Started { id, serial, young: young.clone(), launched };
        if self.shared.start(self.generation, started)? {
            self.send(Event::Active);
        }
        Ok(Some((young, run)))
    }

    /// Waits until these jobs have ended, one needs a real lease, or they are no longer young.
    async fn wait(&self, mut running: Vec<Arc<Young>>, until: Instant) {
        loop {
            self.shared.sign();
            running.retain(|young| !young.has_ended());
            if running.is_empty() || running.iter().any(|young| young.needs_lease()) {
                return;
            }
            tokio::select! {
                biased;
                () = self.shared.wake().notified() => {}
                () = sleep_until(until) => return,
            }
        }
    }

    fn rest(&mut self, why: Why, length: Option<usize>) -> Ended {
        self.shared.rest(self.generation)?;
        Ok(End { why, length, inbox: None })
    }

    fn hand_over(&mut self, why: Why, length: Option<usize>, cut: bool) -> Ended {
        if cut {
            self.pop.close();
        }
        let mut inbox = self.shared.hand_over(self.generation, cut)?;
        inbox.large = std::mem::take(&mut self.popped_large);
        Ok(End { why, length, inbox: Some(inbox) })
    }

    /// Gives up the connection: the commands in flight may have been executed.
    fn fail(&mut self, error: StoreError) -> Ended {
        self.hand_over(Why::Failed(error), None, true)
    }
}

fn poll_of<'a>(keys: &'a LaneKeys, settling: Option<&'a Settling>, take: usize) -> LanePoll<'a> {
    let (outcomes, serial) =
        settling.map_or((&[][..], 0), |settling| (&settling.outcomes, settling.serial));
    LanePoll { keys, outcomes, serial, take }
}
