//! The moves of a queue, on the model and on Redis.

use fastrand::Rng;
use redcall_model::store::{
    Adopt, Beat, EnqueueExt, Frame, Id, Inbox, LaneEntry, LanePoll, Op, PollStep, Registered,
    RunOutcome, Store, UNREADABLE, WorkerId,
};

use super::real::Real;
use super::{REQUESTS, WORKERS};

/// One move.
#[derive(Debug, Clone)]
pub(crate) enum Move {
    /// Requests, each with `true` if a caller waits for it; the cap.
    Enqueue(usize, Vec<(Id, bool)>),
    /// One by `enqueue_ext.lua`.
    EnqueueExt(usize, EnqueueExt),
    /// An element, as foreign clients push it.
    Push(Id),
    /// A worker's blocked pop moves the head to its inbox.
    Pop(WorkerId),
    /// A poll.
    QueuePoll(PollStep),
    /// A worker opens its lane.
    OpenLane(WorkerId),
    /// The last pop of a lane has ended.
    LaneEnds(WorkerId),
    /// A lane's blocked pop moves the head to one of its inboxes.
    LanePop(WorkerId, Inbox),
    /// A lane settles an inbox and fills it.
    LanePoll(LanePoll),
    /// A lane inbox is emptied.
    Adopt(Adopt),
    /// The leases of a worker are read back.
    Held(WorkerId),
    /// A frame before the end; how many may be unread.
    Frame(WorkerId, Id, Frame, usize),
    /// A heartbeat.
    Beat(Beat),
    /// A worker's lease ends.
    LeaseEnds(WorkerId),
    /// The registry is lost, or one worker's place in it.
    RegistryLost(Option<WorkerId>),
    /// A worker's requests go back; `true` if by itself.
    Release(WorkerId, bool),
    /// A request of the schedule becomes due.
    Due(Id),
    /// Due requests are moved.
    Promote,
    /// A request is withdrawn.
    Cancel(Id),
    /// All dead letters are retried.
    Revive(usize),
    /// The queue is paused or resumed.
    Pause(bool),
    /// A tick of a schedule, and the request for it.
    Tick(usize, u8, Id),
    /// `true` if a request is the first of its kind.
    Unique(Id),
}

/// One of several, if there is one.
fn one<T: Copy>(rng: &mut Rng, of: &[T]) -> Option<T> {
    rng.choice(of).copied()
}

impl Move {
    /// Returns the next move. Moves that change something are likelier.
    pub(crate) fn random(rng: &mut Rng, store: &Store) -> Self {
        let id = rng.u8(..REQUESTS);
        let worker = rng.u8(..WORKERS);
        let cap = if rng.u8(..4) == 0 { rng.usize(1..6) } else { 0 };
        let frame = rng.u8(..200);
        let inbox = rng.u8(..2);
        match rng.u8(..78) {
            60 => Self::OpenLane(worker),
            61 if store.holder(worker).lane == LaneEntry::No => Self::OpenLane(worker),
            61 => Self::LaneEnds(worker),
            62..66 => Self::LanePop(worker, inbox),
            66..72 => Self::LanePoll(lane_poll(rng, store, worker, inbox)),
            72..78 => Self::Adopt(adopt(rng, store, worker, inbox)),
            0..6 => {
                let items = (0..rng.usize(1..4)).map(|_| (rng.u8(..REQUESTS), rng.bool()));
                Self::Enqueue(cap, items.collect())
            }
            6..11 => {
                let pending = rng.bool().then_some(frame);
                Self::EnqueueExt(
                    cap,
                    EnqueueExt { id, waited: rng.bool(), later: rng.bool(), pending },
                )
            }
            11 => Self::Push(if rng.bool() { UNREADABLE } else { id }),
            12..16 => Self::Pop(worker),
            16..34 => Self::QueuePoll(poll(rng, store, worker)),
            34 => Self::Held(worker),
            35..38 => {
                let id = one(rng, &store.holder(worker).leases).unwrap_or(id);
                // Now and then the last one again.
                let last = store.frames[usize::from(id)].last().filter(|_| rng.bool());
                Self::Frame(worker, id, last.copied().unwrap_or(frame), rng.usize(1..5))
            }
            38..43 => Self::Beat(Beat { worker, maps: rng.u8(..4) == 0 }),
            43..45 => {
                let holder = store.holder(worker).registered;
                if holder == Registered::No { Self::Promote } else { Self::LeaseEnds(worker) }
            }
            45 => Self::RegistryLost(rng.bool().then_some(worker)),
            46..49 => Self::Release(worker, rng.u8(..4) == 0),
            49..52 => one(rng, &store.later).map_or(Self::Promote, Self::Due),
            52 => Self::Promote,
            53..56 => Self::Cancel(id),
            56 => Self::Revive(cap),
            57 => Self::Pause(rng.bool()),
            58 => Self::Tick(cap, rng.u8(1..9), id),
            _ if store.paused => Self::Pause(false),
            _ => Self::Unique(id),
        }
    }

    /// Applies the move to the model and returns the reply.
    pub(crate) fn on_model(&self, store: &mut Store) -> String {
        match self {
            Self::Enqueue(cap, items) => format!("{:?}", store.enqueue(*cap, items)),
            Self::EnqueueExt(cap, request) => format!("{:?}", store.enqueue_ext(*cap, request)),
            Self::Push(id) => {
                store.queue.push(*id);
                String::new()
            }
            Self::Pop(worker) => format!("{:?}", store.pop(*worker)),
            Self::QueuePoll(poll) => format!("{:?}", store.poll(poll)),
            Self::OpenLane(worker) => {
                store.open_lane(*worker);
                String::new()
            }
            Self::LaneEnds(worker) => {
                store.end_lane(*worker);
                String::new()
            }
            Self::LanePop(worker, inbox) => format!("{:?}", store.lane_pop(*worker, *inbox)),
            Self::LanePoll(poll) => format!("{:?}", store.lane_poll(poll)),
            Self::Adopt(adopt) => format!("{:?}", store.adopt(adopt)),
            Self::Held(worker) => format!("{:?}", store.held(*worker)),
            Self::Frame(worker, id, frame, window) => {
                format!("{:?}", store.frame(*worker, *id, *frame, *window))
            }
            Self::Beat(beat) => format!("{:?}", store.heartbeat(*beat)),
            Self::LeaseEnds(worker) => {
                store.end_lease(*worker);
                String::new()
            }
            Self::RegistryLost(whose) => {
                for (holder, worker) in store.holders.iter_mut().zip(0..) {
                    if whose.is_none_or(|whose| whose == worker) {
                        holder.registered = Registered::No;
                    }
                }
                String::new()
            }
            Self::Release(worker, by_itself) => format!("{:?}", store.release(*worker, *by_itself)),
            Self::Due(id) => {
                store.make_due(*id);
                String::new()
            }
            Self::Promote => format!("{:?}", store.promote()),
            Self::Cancel(id) => format!("{:?}", store.cancel(*id)),
            Self::Revive(cap) => format!("{:?}", store.revive(*cap)),
            Self::Pause(paused) => format!("{:?}", store.pause(*paused)),
            Self::Tick(cap, at, id) => format!("{:?}", store.tick(*cap, *at, *id)),
            Self::Unique(id) => format!("{:?}", store.unique(*id)),
        }
    }

    /// Applies the move to Redis and returns the reply in the model's words.
    pub(crate) async fn on_redis(&self, real: &mut Real) -> String {
        match self {
            Self::Enqueue(cap, items) => format!("{:?}", real.enqueue(*cap, items).await),
            Self::EnqueueExt(cap, request) => {
                format!("{:?}", real.enqueue_ext(*cap, request).await)
            }
            Self::Push(id) => real.push(*id).await,
            Self::Pop(worker) => format!("{:?}", real.pop(*worker).await),
            Self::QueuePoll(poll) => format!("{:?}", real.poll(poll).await),
            Self::OpenLane(worker) => real.open_lane(*worker).await,
            Self::LaneEnds(worker) => real.end_lane(*worker).await,
            Self::LanePop(worker, inbox) => format!("{:?}", real.lane_pop(*worker, *inbox).await),
            Self::LanePoll(poll) => format!("{:?}", real.lane_poll(poll).await),
            Self::Adopt(adopt) => format!("{:?}", real.adopt(adopt).await),
            Self::Held(worker) => format!("{:?}", real.held(*worker).await),
            Self::Frame(worker, id, frame, window) => {
                format!("{:?}", real.frame(*worker, *id, *frame, *window).await)
            }
            Self::Beat(beat) => format!("{:?}", real.heartbeat(*beat).await),
            Self::LeaseEnds(worker) => real.end_lease(*worker).await,
            Self::RegistryLost(whose) => real.lose_registry(*whose).await,
            Self::Release(worker, by_itself) => {
                format!("{:?}", real.release(*worker, *by_itself).await)
            }
            Self::Due(id) => real.make_due(*id).await,
            Self::Promote => format!("{:?}", real.promote().await),
            Self::Cancel(id) => format!("{:?}", real.cancel(*id).await),
            Self::Revive(cap) => format!("{:?}", real.revive(*cap).await),
            Self::Pause(paused) => format!("{:?}", real.pause(*paused).await),
            Self::Tick(cap, at, id) => format!("{:?}", real.tick(*cap, *at, *id).await),
            Self::Unique(id) => format!("{:?}", real.unique(*id).await),
        }
    }
}

/// Returns a poll that settles leases of its worker and, now and then, a request without a lease.
fn poll(rng: &mut Rng, store: &Store, worker: WorkerId) -> PollStep {
    let mut outcomes = Vec::new();
    for _ in 0..rng.usize(..3) {
        let own = one(rng, &store.holder(worker).leases).filter(|_| rng.u8(..5) > 0);
        let id = own.unwrap_or_else(|| rng.u8(..REQUESTS));
        outcomes.push(RunOutcome { id, op: op(rng) });
    }
    let last = store.holder(worker).poll.as_ref().map(|(serial, _)| *serial);
    let again = rng.u8(..4) == 0;
    let serial = last.filter(|_| again && rng.bool()).unwrap_or_else(|| rng.u8(..));
    // A worker that sends a poll again has as many outcomes in it as it had at first.
    if let Some((last, results)) = &store.holder(worker).poll
        && again
        && *last == serial
    {
        outcomes.resize_with(results.len(), || RunOutcome { id: rng.u8(..REQUESTS), op: op(rng) });
    }
    PollStep { worker, take: rng.usize(..4), parked: rng.bool(), outcomes, serial, again }
}

fn plain(rng: &mut Rng, id: Id) -> RunOutcome {
    RunOutcome { id, op: if rng.bool() { Op::Answer(rng.u8(..200)) } else { Op::Done } }
}

/// Returns a lane's poll that settles all of its inbox or, now and then, something else.
fn lane_poll(rng: &mut Rng, store: &Store, worker: WorkerId, inbox: Inbox) -> LanePoll {
    let young = &store.holder(worker).young[usize::from(inbox)];
    let mut ids: Vec<Id> = young.iter().copied().filter(|id| *id != UNREADABLE).collect();
    match rng.u8(..5) {
        0 => ids.push(rng.u8(..REQUESTS)),
        1 => ids.truncate(1),
        _ => {}
    }
    let outcomes = ids.into_iter().map(|id| plain(rng, id)).collect();
    LanePoll { worker, inbox, serial: rng.u8(..), outcomes, take: rng.usize(..3) }
}

/// Returns an adoption of an inbox some of whose requests have ended or were started.
fn adopt(rng: &mut Rng, store: &Store, worker: WorkerId, inbox: Inbox) -> Adopt {
    let holder = store.holder(worker);
    let last = holder.lane_polls[usize::from(inbox)].as_ref();
    let again = last.is_some() && rng.u8(..4) == 0;
    let serial = last.map(|(serial, _)| *serial).filter(|_| again && rng.bool());
    let mut adopt = Adopt {
        worker,
        inbox,
        serial: serial.unwrap_or_else(|| rng.u8(..)),
        again,
        outcomes: Vec::new(),
        started: Vec::new(),
    };
    let other = (rng.u8(..5) == 0).then(|| rng.u8(..REQUESTS));
    for id in holder.young[usize::from(inbox)].iter().copied().chain(other) {
        match rng.u8(..3) {
            _ if id == UNREADABLE => {}
            0 => adopt.outcomes.push(plain(rng, id)),
            1 => adopt.started.push(id),
            _ => {}
        }
    }
    if let Some((last, results)) = last
        && again
        && *last == adopt.serial
    {
        adopt.outcomes.resize_with(results.len(), || plain(rng, 0));
    }
    adopt
}

fn op(rng: &mut Rng) -> Op {
    let frame = rng.u8(..200);
    let perhaps = rng.bool().then_some(frame);
    match rng.u8(..8) {
        0..2 => Op::Answer(frame),
        2 => Op::Done,
        3 => Op::DeadLetter(perhaps),
        4 => Op::Back,
        5 => Op::Rerun(rng.u8(1..9)),
        6 => Op::Retry(rng.u8(1..9), perhaps),
        _ => Op::Unknown(perhaps),
    }
}
