//! A worker that writes to its lane, and reads the replies.

use super::{Cmd, Received, Slot, Young};
use crate::store::{Fault, Gate, Inbox, Op, RunOutcome, SettleResult, Store};
use crate::world::taken::{END, Taken};
use crate::world::worker::{Job, Worker};

impl Worker {
    /// Returns the next write on the lane's connection. `open`: plain requests may be taken.
    pub(in crate::world) fn lane_write(
        &self,
        waiting: bool,
        open: bool,
        fault: Option<Fault>,
    ) -> Vec<Cmd> {
        let lane = &self.lane;
        if !lane.open || !self.runs() || !lane.out.is_empty() || !lane.back.is_empty() {
            return Vec::new();
        }
        for (slot, at) in lane.slots.iter().zip(0..) {
            if slot.adopts {
                return vec![self.adoption(slot, at)];
            }
        }
        let refills = !self.mute && !self.needs_resync;
        let takes = refills && waiting && open;
        for (slot, at) in lane.slots.iter().zip(0..) {
            if slot.has_ended() {
                let settle = Cmd::Settle(at, slot.serial ^ 1, slot.outcomes());
                let room = self.free() + slot.jobs.len();
                let others = lane.jobs().count() > slot.jobs.len();
                let refill = match takes {
                    true => vec![Cmd::Take(at, room)],
                    false if refills && !waiting && !others => vec![Cmd::Pop(at)],
                    false => Vec::new(),
                };
                return match fault == Some(Fault::RefilledFirst) {
                    true => [refill, vec![settle]].concat(),
                    false => [vec![settle], refill].concat(),
                };
            }
        }
        let free = lane.slots.iter().zip(0..).find(|(slot, _)| slot.is_free());
        let Some((_, at)) = free.filter(|_| refills && self.free() > 0) else { return Vec::new() };
        match (waiting, lane.jobs().next().is_some()) {
            (true, _) if open => vec![Cmd::Take(at, self.free())],
            (false, false) => vec![Cmd::Pop(at)],
            _ => Vec::new(),
        }
    }

    fn adoption(&self, slot: &Slot, at: Inbox) -> Cmd {
        let (serial, ended) = match slot.settling.is_empty() {
            true => (slot.serial ^ 1, slot.outcomes()),
            false => (slot.serial, slot.settling.clone()),
        };
        let plain: Vec<RunOutcome> =
            ended.into_iter().filter(|one| Store::is_plain(one.op)).collect();
        let settles = |id| plain.iter().any(|one| one.id == id);
        let started = slot.jobs.iter().filter(|job| job.begun);
        let started = started.map(|job| job.taken.leased.id).filter(|id| !settles(*id)).collect();
        Cmd::Adopt(at, serial, slot.again, plain, started)
    }

    /// Sends it.
    pub(in crate::world) fn lane_send(&mut self, write: Vec<Cmd>) {
        for cmd in &write {
            match cmd {
                Cmd::Settle(at, serial, outcomes) => {
                    let slot = &mut self.lane.slots[usize::from(*at)];
                    (slot.serial, slot.settling) = (*serial, outcomes.clone());
                    slot.jobs.clear();
                }
                Cmd::Adopt(at, serial, _, outcomes, _) => {
                    let slot = &mut self.lane.slots[usize::from(*at)];
                    (slot.serial, slot.settling) = (*serial, outcomes.clone());
                    let settles = |id| outcomes.iter().any(|one: &RunOutcome| one.id == id);
                    slot.jobs.retain(|job| !settles(job.taken.leased.id));
                }
                Cmd::Pop(at) | Cmd::Take(at, _) => {
                    self.lane.slots[usize::from(*at)].fills = true;
                }
                Cmd::Gate(..) => {}
            }
        }
        self.lane.out = write;
    }

    /// A reply on the lane's connection.
    pub(in crate::world) fn receive_lane(&mut self, fault: Option<Fault>) {
        if self.lane.back.is_empty() {
            return;
        }
        let received = self.lane.back.remove(0);
        match received {
            Received::Settled(at, results) => {
                let slot = &mut self.lane.slots[usize::from(at)];
                if results.contains(&SettleResult::Kept) {
                    // Adopted by its ids, with the requests that have come after it.
                    slot.adopts = true;
                    return;
                }
                slot.settling.clear();
                if fault == Some(Fault::ReplyMistaken) && slot.fills {
                    // "Settled, and nothing taken": the inbox counts as empty.
                    slot.fills = false;
                }
            }
            Received::Nothing(at) => self.lane.slots[usize::from(at)].fills = false,
            Received::Popped(at, young, gate) => {
                let starts = gate == Gate::Open
                    || (gate == Gate::Expired && fault == Some(Fault::LateStarted));
                self.filled(at, vec![young], starts);
                self.mute |= gate == Gate::Expired;
            }
            Received::Took(at, taken, gate) => {
                self.filled(at, taken, gate == Some(Gate::Open));
                self.mute |= gate == Some(Gate::Expired);
                if gate.is_none() {
                    self.lane.slots[usize::from(at)].adopts = true;
                }
            }
            Received::Adopted(at, reply) => self.receive_adopted(at, reply),
        }
    }

    fn filled(&mut self, at: Inbox, taken: Vec<Young>, starts: bool) {
        let slot = &mut self.lane.slots[usize::from(at)];
        if !slot.fills {
            // A reply that nothing waits for.
            return;
        }
        slot.fills = false;
        // After a settlement that was refused nothing starts: all of it is adopted.
        if starts && !slot.adopts {
            slot.jobs = taken;
        } else if !taken.is_empty() {
            slot.adopts = true;
        }
    }

    fn receive_adopted(&mut self, at: Inbox, reply: Option<(Vec<SettleResult>, Vec<Taken>)>) {
        let slot = &mut self.lane.slots[usize::from(at)];
        let Some((results, leased)) = reply else {
            slot.again |= !slot.settling.is_empty();
            return;
        };
        let settled = std::mem::take(&mut slot.settling);
        (slot.adopts, slot.again) = (false, false);
        let jobs = std::mem::take(&mut slot.jobs);
        for (outcome, results) in settled.into_iter().zip(results) {
            if results == SettleResult::Kept {
                self.to_settle.push(outcome);
            }
        }
        for job in jobs.into_iter().filter(|job| job.begun) {
            let id = job.taken.leased.id;
            let adopted = leased.iter().find(|taken| taken.leased.id == id);
            // One that is not in the reply may have a lease by an earlier adoption, or none.
            self.needs_resync |= adopted.is_none();
            let taken = adopted.copied().unwrap_or(job.taken);
            match job.ended {
                Some(op) => self.to_settle.push(RunOutcome { id, op }),
                None if taken.leased.info.cancelled => {
                    self.to_settle.push(RunOutcome { id, op: Op::Answer(END) });
                }
                None => self.jobs.push(Job { taken, begun: true }),
            }
        }
    }
}
