//! The loop of a lane: pops a request, runs it, settles it with the next pop.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use redcall_store::{
    Gate, LaneKeys, LaneOps as _, LanePoll, LanePop, LanePopped, LaneWrite, Moved, Session as _,
    Settled, StoreError,
};
use tokio::sync::mpsc;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep_until};

use super::shared::{Seized, Settling, Shared, Started};
use super::{Arm, End, Event, Parts, Why};
use crate::run::launch::{Launcher, RunFuture};
use crate::run::young::{InLane, Young};
use crate::time::REDIS_TIMEOUT;

/// How long a job stays in the lane. Then it gets a real lease, and the lane is free.
const YOUNG: Duration = Duration::from_millis(1);

/// See the module.
pub(super) struct Task {
    parts: Parts,
    keys: Arc<LaneKeys>,
    shared: Arc<Shared>,
    pop: LanePop,
    generation: u64,
    /// `true` once the worker is in the queue's registry of lanes.
    is_registered: bool,
    /// Number of jobs so far.
    jobs: u64,
}

/// The end of the work: at rest, or with a reason to hand over the inbox.
type Ended = Result<End, Seized>;

impl Task {
    pub(super) fn new(
        parts: Parts,
        keys: Arc<LaneKeys>,
        shared: Arc<Shared>,
        pop: LanePop,
    ) -> Self {
        Self { parts, keys, shared, pop, generation: 0, is_registered: false, jobs: 0 }
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
        let _ = self.parts.events.send((self.parts.queue, event));
    }

    async fn work(&mut self, arm: &Arm) -> Ended {
        if let Err(error) = self.register().await {
            self.shared.rest(self.generation)?;
            return Ok(End { why: Why::Failed(error), length: None, inbox: None });
        }
        // Both together are at most the time that the dispatcher expects.
        let (until, block) = (Instant::now() + arm.block / 5, arm.block * 4 / 5);
        let (mut length, mut is_waiting) = (None, false);
        loop {
            self.shared.sign();
            let settling = self.shared.settling(self.generation)?;
            let ends = is_waiting || self.shared.is_recalled() || Instant::now() >= until;
            let pop = (!ends).then_some(block);
            match self.settle(settling.as_deref(), pop).await {
                Ok(Settled::Failed) => return self.hand_over(Why::Slow, None, None, true),
                Ok(_) => {}
                Err(error) => return self.fail(error),
            }
            if settling.is_some() {
                self.shared.settled(self.generation)?;
            }
            let Some(block) = pop else {
                self.shared.rest(self.generation)?;
                return Ok(End { why: Why::Idle, length, inbox: None });
            };
            let popped = match self.popped(block).await {
                Ok(popped) => popped,
                Err(error) => return self.fail(error),
            };
            length = Some(popped.length);
            let (young, run) = match self.plan(&popped, arm)? {
                Ok(started) => started,
                Err(Why::Idle) if popped.moved.is_none() => {
                    self.shared.rest(self.generation)?;
                    return Ok(End { why: Why::Idle, length, inbox: None });
                }
                Err(why) => return self.hand_over(why, None, None, false),
            };
            is_waiting = popped.length > 0;
            if is_waiting {
                self.send(Event::Waiting(popped.length));
            }
            self.run_young(&young, run).await;
            match young.in_lane() {
                InLane::Ended(outcome) if outcome.is_plain() => {
                    self.shared.ended(self.generation, *outcome)?;
                }
                InLane::Ended(outcome) => {
                    return self.hand_over(Why::Slow, length, Some(outcome), false);
                }
                InLane::Runs | InLane::NeedsLease => {
                    return self.hand_over(Why::Slow, length, None, false);
                }
                InLane::Gone => return Err(Seized),
            }
        }
    }

    /// Enters the registry of lanes, before the first pop of a connection.
    async fn register(&mut self) -> Result<(), StoreError> {
        if self.is_registered && self.pop.is_connected() {
            return Ok(());
        }
        let Parts { job, keys, lease, .. } = &self.parts;
        job.link.open_lane(keys, *lease, REDIS_TIMEOUT).await?;
        self.is_registered = true;
        Ok(())
    }

    /// Sends an outcome, if there is one, and a pop behind it. Returns the result of the settlement.
    async fn settle(
        &mut self,
        settling: Option<&Settling>,
        pop: Option<Duration>,
    ) -> Result<Settled, StoreError> {
        let (outcomes, serial) =
            settling.map_or((&[][..], 0), |settling| (&settling.outcomes, settling.serial));
        let poll = LanePoll { keys: &self.keys, outcomes, serial, take: 0 };
        if settling.is_none() && pop.is_none() {
            return Ok(Settled::Yes);
        }
        self.pop.write(&LaneWrite { settlement: &poll, pop }).await?;
        let Some(settling) = settling else { return Ok(Settled::Yes) };
        let settled = self.pop.settled(&poll).await?.pop().unwrap_or(Settled::Failed);
        if settled != Settled::Failed {
            settling.count(settled, &self.parts.metrics);
        }
        Ok(settled)
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

    /// Decides about the request of a pop: its job, or why it does not start here.
    fn plan(
        &mut self,
        popped: &LanePopped,
        arm: &Arm,
    ) -> Result<Result<(Arc<Young>, RunFuture), Why>, Seized> {
        let Some(moved) = &popped.moved else { return Ok(Err(Why::Idle)) };
        let raw = match (popped.gate(self.parts.job.link.now_ms()), moved) {
            (Gate::Open, Moved::Request(raw)) => raw,
            (Gate::Expired, _) => {
                self.is_registered = false;
                return Ok(Err(Why::Expired));
            }
            (Gate::Open | Gate::Closed, _) => return Ok(Err(Why::Special)),
        };
        let capacity = &self.parts.capacity;
        if !capacity.take() {
            return Ok(Err(Why::Idle));
        }
        self.jobs += 1;
        // Unlike the serials of the dispatcher and of other lanes.
        let serial = 1 << 63 | (self.parts.queue as u64) << 48 | self.jobs;
        let young = Arc::new(Young::new(self.shared.wake().clone(), capacity.clone()));
        let Parts { keys, job, .. } = &self.parts;
        let launcher = Launcher { keys, mapping: &arm.mapping, shared: job };
        let Some((launched, run)) = launcher.launch_young(raw, serial, young.clone()) else {
            capacity.give_back();
            return Ok(Err(Why::Special));
        };
        let Some(job) = launched.job.upgrade() else { return Ok(Err(Why::Special)) };
        let id = job.request.id.clone();
        let started = Started { id, serial, young: young.clone(), launched };
        if self.shared.start(self.generation, started)? {
            self.send(Event::Active);
        }
        Ok(Ok((young, run)))
    }

    /// Runs a job until it has ended, needs a real lease, or is no longer young.
    async fn run_young(&mut self, young: &Young, mut run: RunFuture) {
        let until = Instant::now() + YOUNG;
        // Most end at once: no other task, and no other thread, is needed for them.
        let first = poll_fn(|context| Poll::Ready(run.as_mut().poll(context)));
        if unconstrained(first).await.is_ready() {
            return;
        }
        tokio::spawn(run);
        loop {
            self.shared.sign();
            if !young.runs_in_lane() {
                return;
            }
            tokio::select! {
                biased;
                () = self.shared.wake().notified() => {}
                () = sleep_until(until) => return,
            }
        }
    }

    fn hand_over(
        &mut self,
        why: Why,
        length: Option<usize>,
        outcome: Option<Box<redcall_store::Outcome>>,
        cut: bool,
    ) -> Ended {
        if cut {
            self.pop.close();
        }
        let inbox = Some(self.shared.hand_over(self.generation, outcome, cut)?);
        Ok(End { why, length, inbox })
    }

    /// Gives up the connection: the commands in flight may have been executed.
    fn fail(&mut self, error: StoreError) -> Ended {
        self.hand_over(Why::Failed(error), None, None, true)
    }
}
