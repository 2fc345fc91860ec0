//! [`Store`]: the keys of one queue, and their values.

/// A request, by number.
pub type Id = u8;
/// A worker, by number.
pub type WorkerId = u8;
/// One of the two lane inboxes of a worker.
pub type Inbox = u8;
/// A frame at a response key, by number.
pub type Frame = u8;

/// An element of the queue that is not a request.
pub const UNREADABLE: Id = Id::MAX;

/// How often a request was started, and how that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Record {
    /// Number of the last run that began.
    pub attempt: u8,
    /// How many runs failed.
    pub fails: u8,
    /// How many ended with their worker.
    pub crashes: u8,
}

/// The result of one outcome in a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SettleResult {
    /// It took effect.
    Yes,
    /// The lease was gone.
    LeaseLost,
    /// Another worker will run it.
    Parked,
    /// A command failed: the lease is still there, and the next poll settles it.
    Kept,
}

/// A worker's state in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Registered {
    /// Nothing.
    #[default]
    No,
    /// Its lease holds.
    Alive,
    /// Its lease has ended.
    Ended,
}

/// A worker's place in the registry of lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum LaneEntry {
    /// Nothing.
    #[default]
    No,
    /// Redis may still serve a pop of it.
    Open,
    /// Its last pop has ended by now.
    Past,
}

/// The number and the results of a settlement.
pub type PollRecord = (u8, Vec<SettleResult>);

/// The keys of one worker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Holder {
    /// Its place in the registry.
    pub registered: Registered,
    /// Requests that its blocked pop has moved.
    pub inbox: Vec<Id>,
    /// Its leased requests, in order.
    pub leases: Vec<Id>,
    /// Number and results of its last settling poll.
    pub poll: Option<PollRecord>,
    /// Its place in the registry of lanes.
    pub lane: LaneEntry,
    /// Its lane inboxes: requests whose place there is their lease.
    pub young: [Vec<Id>; 2],
    /// Number and results of the last settlement of each.
    pub lane_polls: [Option<PollRecord>; 2],
}

/// A dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Letter {
    /// The request.
    pub id: Id,
    /// `true` if it could not be leased: unreadable, or the id of a live request.
    pub invalid: bool,
}

/// One queue in Redis.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Store {
    /// The list, its head first.
    pub queue: Vec<Id>,
    /// `true` if nothing may be leased.
    pub paused: bool,
    /// By worker.
    pub holders: Vec<Holder>,
    /// The schedule: requests that are not due, sorted by id.
    pub later: Vec<Id>,
    /// The schedule: due requests, in order.
    pub due: Vec<Id>,
    /// Tombstones, sorted.
    pub tombstones: Vec<Id>,
    /// Records of earlier runs, by request.
    pub records: Vec<Option<Record>>,
    /// The dead letters.
    pub dead: Vec<Letter>,
    /// The frames at the response keys, by request.
    pub frames: Vec<Vec<Frame>>,
    /// Requests of the name that not every worker maps.
    pub parked: Vec<Id>,
    /// `true` if the set of parked names has that name.
    pub names_parked: bool,
    /// `true` if a live worker maps it.
    pub mapped: bool,
    /// The last tick of the schedule.
    pub ticked: u8,
    /// The first request of its kind.
    pub first: Option<Id>,
    /// The injected fault.
    pub fault: Option<Fault>,
    /// The store after each command of a script, while its commands are recorded.
    pub(crate) trail: Option<Vec<Store>>,
}

/// Faults to inject, to check that a property detects them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// `poll.lua` settles without a check of the lease.
    NoFence,
    /// `poll.lua` does not check tombstones.
    TombstonesIgnored,
    /// `poll.lua` does not store its reply.
    PollForgotten,
    /// `poll.lua` ends the lease of a retry, and schedules nothing.
    RetryNotScheduled,
    /// `poll.lua` leaves the inbox where it is.
    InboxIgnored,
    /// `release.lua` ends leases, and pushes nothing.
    TakeOverDrops,
    /// `release.lua` leaves the inbox where it is.
    InboxNotReleased,
    /// `release.lua` counts no crash.
    CrashNotCounted,
    /// `promote.lua` moves nothing.
    NothingPromoted,
    /// The worker does not read back its leases after a lost reply.
    NotReadBack,
    /// The worker sends a poll whose reply was lost under another number.
    OtherNumber,
    /// A failed script leaves the effects of its commands so far; each stores before it removes.
    NotUndone,
    /// The same, and each script removes before it stores.
    RemovedFirst,
    /// The lane's worker refills an inbox before it settles it, and the scripts do not count its
    /// elements.
    RefilledFirst,
    /// The lane's worker starts what it popped although its registration was gone by then.
    LateStarted,
    /// The lane's worker takes the reply to a settlement for that to a later take.
    ReplyMistaken,
    /// `adopt.lua` loses the requests that it should return.
    AdoptDrops,
    /// The lane's worker does not check the gate.
    GateIgnored,
    /// `heartbeat.lua` does not check the lane inboxes of workers that are not registered.
    LateIgnored,
    /// `release.lua` and `heartbeat.lua` leave the lane inboxes where they are.
    LanesNotReleased,
}

impl Store {
    /// An empty queue.
    #[must_use]
    pub fn new(workers: usize, requests: usize) -> Self {
        Self {
            holders: vec![Holder::default(); workers],
            records: vec![None; requests],
            frames: vec![Vec::new(); requests],
            ..Self::default()
        }
    }

    /// Returns the keys of a worker.
    #[must_use]
    pub fn holder(&self, worker: WorkerId) -> &Holder {
        &self.holders[usize::from(worker)]
    }

    pub(super) fn holder_mut(&mut self, worker: WorkerId) -> &mut Holder {
        &mut self.holders[usize::from(worker)]
    }

    /// Returns the worker that has leased a request, by the hash `live`.
    #[must_use]
    pub fn live(&self, id: Id) -> Option<WorkerId> {
        let held = self.holders.iter().position(|holder| holder.leases.contains(&id))?;
        WorkerId::try_from(held).ok()
    }

    /// In how many places of the queue a request is.
    #[must_use]
    pub fn places(&self, id: Id) -> usize {
        let held = self.holders.iter().flat_map(|holder| {
            holder.inbox.iter().chain(&holder.leases).chain(holder.young.iter().flatten())
        });
        let all = self.queue.iter().chain(&self.later).chain(&self.due).chain(&self.parked);
        all.chain(held).filter(|one| **one == id).count()
    }

    pub(super) fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    pub(super) fn record(&self, id: Id) -> Option<Record> {
        self.records.get(usize::from(id)).copied().flatten()
    }

    pub(super) fn remember(&mut self, id: Id, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.records.get_mut(usize::from(id)) {
            change(record.get_or_insert_default());
        }
    }

    pub(super) fn push_frame_of(&mut self, id: Id, frame: Frame) {
        if let Some(frames) = self.frames.get_mut(usize::from(id)) {
            frames.push(frame);
        }
    }
}
