//! A worker's lane: one connection, two inboxes, and the worker's knowledge of both.
//!
//! | inbox | next |
//! |---|---|
//! | empty | a blocked pop if both are, a take while requests wait |
//! | its jobs run | adoption: after the first millisecond, or if one needs a real lease |
//! | all of its jobs have ended | settled, and refilled after that |
//! | in doubt: a reply was lost or refused | adopted: the ended are settled, the rest returns |

mod steps;
mod worker;

use super::taken::Taken;
use crate::store::{Gate, Id, Inbox, LaneReply, Op, RunOutcome, SettleResult};

/// A request in a lane inbox, as its worker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Young {
    /// The request.
    pub taken: Taken,
    /// `true` if its worker was not registered when the gate was read: for the properties.
    pub late: bool,
    /// `true` if its handler has begun.
    pub begun: bool,
    /// The end of its run.
    pub ended: Option<Op>,
}

/// An inbox, as its worker sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Slot {
    /// The jobs of its requests.
    pub jobs: Vec<Young>,
    /// The number of its last settlement, by its last bit.
    pub serial: u8,
    /// The outcomes of a settlement without a reply.
    pub settling: Vec<RunOutcome>,
    /// `true` if a pop or a take into it has no reply.
    pub fills: bool,
    /// `true` if it has to be adopted.
    pub adopts: bool,
    /// `true` if its settlement was sent before.
    pub again: bool,
    /// The results of that settlement: for the properties.
    pub results: Option<Vec<SettleResult>>,
}

/// A command on the lane's connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cmd {
    /// Settles an inbox.
    Settle(Inbox, u8, Vec<RunOutcome>),
    /// Pops into an inbox, and blocks.
    Pop(Inbox),
    /// The gate after a pop, and the popped request.
    Gate(Inbox, Id),
    /// Takes up to so many into an inbox.
    Take(Inbox, usize),
    /// Empties an inbox: number, `true` if sent before, outcomes, started.
    Adopt(Inbox, u8, bool, Vec<RunOutcome>, Vec<Id>),
}

/// A reply on it. Each names what it answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Received {
    /// An inbox was settled, or keeps its requests.
    Settled(Inbox, Vec<SettleResult>),
    /// Popped, with the gate.
    Popped(Inbox, Young, Gate),
    /// The pop ended without a request.
    Nothing(Inbox),
    /// Taken; the gate, or an error.
    Took(Inbox, Vec<Young>, Option<Gate>),
    /// Adopted; `None`: an error, nothing has changed.
    Adopted(Inbox, Option<(Vec<SettleResult>, Vec<Taken>)>),
}

/// The lane of a worker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lane {
    /// `true` if the worker has one.
    pub open: bool,
    /// Its two inboxes; none if it is not open, so that worlds without lanes stay small.
    pub slots: Vec<Slot>,
    /// The commands that Redis has not run yet.
    pub out: Vec<Cmd>,
    /// The replies that the worker has not read yet.
    pub back: Vec<Received>,
}

impl Slot {
    /// Returns `true` if it holds nothing and waits for nothing.
    pub(super) fn is_free(&self) -> bool {
        self.jobs.is_empty() && self.settling.is_empty() && !self.fills && !self.adopts
    }

    pub(super) fn has_ended(&self) -> bool {
        !self.jobs.is_empty() && self.jobs.iter().all(|job| job.ended.is_some())
    }

    pub(super) fn outcomes(&self) -> Vec<RunOutcome> {
        let outcome = |job: &Young| Some(RunOutcome { id: job.taken.leased.id, op: job.ended? });
        self.jobs.iter().filter_map(outcome).collect()
    }

    /// Returns `true` if its settlement may be sent again.
    pub(super) fn may_send_again(&self) -> bool {
        !self.settling.is_empty()
    }

    /// Its connection is lost.
    fn lose(&mut self) {
        let pending = !self.settling.is_empty();
        self.adopts |= pending || self.fills;
        self.again |= pending;
        self.fills = false;
    }
}

impl Lane {
    /// Returns a lane with two empty inboxes.
    pub(super) fn opened() -> Self {
        Self { open: true, slots: vec![Slot::default(); 2], ..Self::default() }
    }

    /// Returns `true` if a blocked pop is the next command.
    pub(super) fn is_blocked(&self) -> bool {
        matches!(self.out.first(), Some(Cmd::Pop(_)))
    }

    /// Returns `true` if a command or a reply of it is in flight, except a blocked pop.
    pub(super) fn is_talking(&self) -> bool {
        let begins = self.jobs().any(|job| !job.begun && job.ended.is_none());
        (!self.out.is_empty() && !self.is_blocked()) || !self.back.is_empty() || begins
    }

    /// Its jobs.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &Young> {
        self.slots.iter().flat_map(|slot| &slot.jobs)
    }

    /// Returns the job of a request that has begun, or has not, and has not ended.
    pub(super) fn job_mut(&mut self, id: Id, begun: bool) -> Option<&mut Young> {
        let mut jobs = self.slots.iter_mut().flat_map(|slot| &mut slot.jobs);
        jobs.find(|job| job.taken.leased.id == id && job.begun == begun && job.ended.is_none())
    }

    /// Returns `true` if a fault of its connection makes a difference.
    pub(super) fn may_be_lost(&self) -> bool {
        !self.out.is_empty() || !self.back.is_empty()
    }

    /// The connection is lost, and cut before the next one is used.
    pub(super) fn lose(&mut self) {
        self.out.clear();
        self.back.clear();
        self.slots.iter_mut().for_each(Slot::lose);
    }

    /// All of its requests may have been taken over.
    pub(super) fn doubt(&mut self) {
        for slot in &mut self.slots {
            slot.adopts |= !slot.jobs.is_empty();
        }
    }

    /// Returns `true` if a blocked pop has to end: an inbox is to be adopted after it.
    pub(super) fn ends_pop(&self) -> bool {
        self.is_blocked() && self.slots.iter().any(|slot| slot.adopts)
    }

    /// A request needs a real lease. Returns `true` if it is here.
    pub(super) fn needs_lease(&mut self, id: Id) -> bool {
        let here = |slot: &&mut Slot| slot.jobs.iter().any(|job| job.taken.leased.id == id);
        self.slots.iter_mut().find(here).map(|slot| slot.adopts = true).is_some()
    }
}

/// Adds the facts of the checker to the requests of a reply.
pub(super) fn young(taken: Vec<Taken>, late: bool) -> Vec<Young> {
    let young = |taken| Young { taken, late, begun: false, ended: None };
    taken.into_iter().map(young).collect()
}

/// Reads a take's reply.
pub(super) fn took(at: Inbox, reply: &LaneReply, taken: Vec<Taken>) -> Received {
    Received::Took(at, young(taken, reply.gate != Some(Gate::Open)), reply.gate)
}
