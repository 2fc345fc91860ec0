//! A worker's own state, and the effect of replies on it: `worker/src/dispatcher/` without times,
//! for one queue.

use super::lane::Lane;
use super::taken::{END, Taken};
use crate::store::{
    Fault, Id, Leased, Op, PollStep, Reply, RunOutcome, SettleResult, State, WorkerId,
};

/// How many handlers run at once in a worker.
pub(super) const SLOTS: usize = 1;

/// The life of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Life {
    /// Yes.
    Running,
    /// It is stopped, and may continue.
    Stopped,
    /// It has crashed.
    Dead,
    /// It has not been started.
    #[default]
    Unborn,
}

/// A blocked pop and the lease after it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Pop {
    /// None is out.
    #[default]
    No,
    /// It waits at Redis.
    Blocked,
    /// The element is in the inbox; the script after it is next.
    Moved,
    /// The reply is in flight.
    Replied(Vec<Taken>, State),
}

/// A poll and its reply.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Send {
    /// None is out.
    #[default]
    No,
    /// In flight; `true` if leases are read back first.
    Sent(PollStep, bool),
    /// The leases have been read.
    Read(PollStep, Vec<Taken>),
    /// The reply is in flight, with the leases read before.
    Replied(PollStep, Vec<SettleResult>, Vec<Taken>, State, Option<Vec<Taken>>),
}

/// A request that holds a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job {
    /// The leased request.
    pub taken: Taken,
    /// `true` if its handler has begun.
    pub begun: bool,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Worker {
    /// Its life.
    pub life: Life,
    /// Its blocked pop.
    pub pop: Pop,
    /// Its poll.
    pub send: Send,
    /// The running jobs.
    pub jobs: Vec<Job>,
    /// The outcomes that the next poll settles.
    pub to_settle: Vec<RunOutcome>,
    /// The outcomes that are settled before those, as they were sent before.
    pub resend: Vec<RunOutcome>,
    /// The number of the last settling poll, by its last bit: only this distinguishes two in a row.
    pub serial: u8,
    /// A reply was lost, so that it may have leases that it does not know.
    pub needs_resync: bool,
    /// Its own lease has ended: it has to send a heartbeat first.
    pub mute: bool,
    /// Its leases in Redis: for the properties, no worker reads it.
    pub owns: Vec<Id>,
    /// The reply to its last settling poll, while Redis stores it: for the properties.
    pub results: Option<Vec<SettleResult>>,
    /// Its lane.
    pub lane: Lane,
}

impl Worker {
    pub(super) fn runs(&self) -> bool {
        self.life == Life::Running
    }

    /// Returns `true` if it runs, and a command or a reply of it is in flight.
    pub(super) fn is_talking(&self) -> bool {
        let receives =
            matches!(self.pop, Pop::Replied(..)) || self.jobs.iter().any(|job| !job.begun);
        self.runs() && (self.send != Send::No || receives || self.lane.is_talking())
    }

    /// Returns `true` if stopping it here makes a difference: in a handler, or with a command or a
    /// reply in flight. Right before or after, it would continue to the same world.
    pub(super) fn may_stop(&self) -> bool {
        let talks = self.send != Send::No || self.pop != Pop::No || self.lane.may_be_lost();
        talks || self.jobs.iter().any(|job| job.begun) || self.lane.jobs().any(|job| job.begun)
    }

    /// Returns `true` if it sends a poll now. `open`: its lane may take what waits.
    pub(super) fn sends(&self, waiting: bool, open: bool) -> bool {
        let settles = !self.to_settle.is_empty() || !self.resend.is_empty();
        let takes = self.polls(waiting, open) && self.free() > 0;
        self.runs() && self.send == Send::No && (settles || takes || self.reads_back())
    }

    /// Returns `true` if a poll takes requests: those that a lane cannot take, if there is one.
    fn polls(&self, waiting: bool, open: bool) -> bool {
        waiting && !self.mute && !(self.lane.open && open)
    }

    /// Returns `true` if it knows of more or fewer leases than Redis: the last net under lost
    /// replies.
    pub(super) fn finds_odd(&self, held: usize) -> bool {
        let outcomes = self.to_settle.len() + self.resend.len();
        !(self.jobs.len()..=self.jobs.len() + outcomes).contains(&held)
    }

    /// Returns `true` if it sends a blocked pop now.
    pub(super) fn pops(&self, waiting: bool) -> bool {
        let idle = self.free() > 0 && !waiting && !self.mute && !self.needs_resync;
        let idle = idle && !self.lane.open;
        self.runs() && self.pop == Pop::No && idle
    }

    /// Returns `true` if the last settling poll may be sent again.
    pub(super) fn may_send_again(&self) -> bool {
        match &self.send {
            Send::No => !self.resend.is_empty(),
            Send::Sent(poll, _) | Send::Read(poll, _) => poll.again,
            Send::Replied(poll, ..) => !poll.outcomes.is_empty(),
        }
    }

    /// How many more it could start.
    pub(super) fn free(&self) -> usize {
        let max = SLOTS + usize::from(self.lane.open);
        max.saturating_sub(self.jobs.len() + self.lane.jobs().count())
    }

    /// Returns `true` if the next poll reads back its leases.
    pub(super) fn reads_back(&self) -> bool {
        self.needs_resync && self.pop == Pop::No
    }

    /// The next poll, if there is one: `worker/src/dispatcher/polls/poll.rs`.
    pub(super) fn plan(
        &mut self,
        own: WorkerId,
        (waiting, open): (bool, bool),
        fault: Option<Fault>,
    ) {
        let again = !self.resend.is_empty();
        let outcomes =
            if again { self.resend.clone() } else { std::mem::take(&mut self.to_settle) };
        if !outcomes.is_empty() && (!again || fault == Some(Fault::OtherNumber)) {
            self.serial ^= 1;
        }
        self.resend.clear();
        let take = if self.polls(waiting, open) { self.free() } else { 0 };
        let poll =
            PollStep { take, outcomes, serial: self.serial, again, ..PollStep::take(own, take) };
        self.send = Send::Sent(poll, self.reads_back());
    }

    /// A reply has come.
    pub(super) fn receive_poll(&mut self, max_crashes: u8) {
        let Send::Replied(poll, results, leased, state, held) = std::mem::take(&mut self.send)
        else {
            return;
        };
        let kept =
            poll.outcomes.iter().zip(results).filter(|(_, results)| *results == SettleResult::Kept);
        let kept: Vec<RunOutcome> = kept.map(|(outcome, _)| *outcome).collect();
        if let Some(held) = held {
            self.needs_resync = false;
            self.jobs.retain(|job| held.iter().any(|held| held.leased.id == job.taken.leased.id));
            let unknown_leases = held.into_iter().filter(|held| {
                let id = held.leased.id;
                let leaves = self.to_settle.iter().chain(&poll.outcomes).any(|one| one.id == id);
                !leaves && self.jobs.iter().all(|job| job.taken.leased.id != id)
            });
            let unknown_leases = unknown_leases.collect();
            self.start(unknown_leases, max_crashes);
        }
        self.to_settle.extend(kept);
        self.start(leased, max_crashes);
        self.note(state);
    }

    pub(super) fn receive_pop(&mut self, max_crashes: u8) {
        if let Pop::Replied(leased, state) = std::mem::take(&mut self.pop) {
            self.note(state);
            self.start(leased, max_crashes);
        }
    }

    fn note(&mut self, state: State) {
        if state == State::Expired {
            self.needs_resync |= !self.mute;
            self.mute = true;
        }
    }

    /// A reply to a poll does not come, or the poll does not even arrive.
    pub(super) fn lose_poll(&mut self, fault: Option<Fault>) {
        let poll = match std::mem::take(&mut self.send) {
            Send::Sent(poll, _) | Send::Read(poll, _) | Send::Replied(poll, ..) => poll,
            Send::No => return,
        };
        self.resend = poll.outcomes;
        self.needs_resync |= fault != Some(Fault::NotReadBack);
    }

    /// The same with a pop.
    pub(super) fn lose_pop(&mut self, fault: Option<Fault>) {
        self.pop = Pop::No;
        self.needs_resync |= fault != Some(Fault::NotReadBack);
    }

    /// Starts leased requests, up to its capacity; the rest goes back.
    fn start(&mut self, leased: Vec<Taken>, max_crashes: u8) {
        let free = self.free();
        for (at, taken) in leased.into_iter().enumerate() {
            let Leased { id, info } = taken.leased;
            if at >= free {
                self.to_settle.push(RunOutcome { id, op: Op::Back });
            } else if info.cancelled {
                self.to_settle.push(RunOutcome { id, op: Op::Answer(END) });
            } else if info.record.crashes >= max_crashes {
                self.to_settle.push(RunOutcome { id, op: Op::DeadLetter(Some(END)) });
            } else {
                self.jobs.push(Job { taken, begun: false });
            }
        }
    }

    /// A job is cancelled.
    pub(super) fn cancel(&mut self, id: Id) {
        let before = self.jobs.len();
        self.jobs.retain(|job| job.taken.leased.id != id);
        if self.jobs.len() < before {
            self.to_settle.push(RunOutcome { id, op: Op::Answer(END) });
        }
    }

    /// It crashes: its own state is gone; the state in Redis stays.
    pub(super) fn crash(&mut self, follows: bool) {
        let pop = if follows { std::mem::take(&mut self.pop) } else { Pop::No };
        let out = if follows { std::mem::take(&mut self.lane.out) } else { Vec::new() };
        let owns = std::mem::take(&mut self.owns);
        let lane = Lane { out, ..Lane::default() };
        *self = Self { life: Life::Dead, pop, owns, lane, ..Self::default() };
    }

    /// Removes the leases that a poll settled. Returns `true` if it settled all of them.
    pub(super) fn settled(&mut self, poll: &PollStep, reply: &Reply) -> bool {
        let done = poll.outcomes.iter().zip(&reply.results);
        let done = done.filter(|(_, results)| {
            !matches!(results, SettleResult::LeaseLost | SettleResult::Kept)
        });
        let ids: Vec<Id> = done.map(|(outcome, _)| outcome.id).collect();
        let all_owned = ids.iter().all(|id| self.owns.contains(id));
        self.owns.retain(|id| !ids.contains(id));
        all_owned
    }
}
