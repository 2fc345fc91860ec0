//! A script fails at one of its commands: a right is missing, or a key has a wrong type.
//!
//! Redis undoes nothing of it. A script of ours does so itself: all of it, or the half or the one
//! outcome that failed. What it leaves if it does not, for each of its commands, is what the two
//! faults [`Fault::NotUndone`] and [`Fault::RemovedFirst`] look at.

use super::cycle::{Reply, Said, State, Turn};
use super::{Fault, Store};

impl Store {
    /// A command of a script has run.
    pub(super) fn ran(&mut self) {
        if let Some(mut trail) = self.trail.take() {
            trail.push(self.clone());
            self.trail = Some(trail);
        }
    }

    /// Moves something from one place to another, in the order of the scripts: it is stored before
    /// it is removed.
    pub(super) fn moves(&mut self, remove: impl FnOnce(&mut Self), store: impl FnOnce(&mut Self)) {
        if self.is(Fault::RemovedFirst) {
            remove(self);
            self.ran();
            store(self);
        } else {
            store(self);
            self.ran();
            remove(self);
        }
        self.ran();
    }

    /// What `script` leaves if one of its commands fails, by command, and nothing is undone.
    #[must_use]
    pub fn stopped(&self, script: impl FnOnce(&mut Self)) -> Vec<Self> {
        let mut traced = Self { trail: Some(Vec::new()), ..self.clone() };
        script(&mut traced);
        let mut trail = traced.trail.unwrap_or_default();
        // After its last command it has not failed.
        trail.pop();
        trail.dedup();
        trail
    }

    /// What `script` leaves if it fails, where that is something else than before.
    #[must_use]
    pub fn fails(&self, script: impl FnOnce(&mut Self)) -> Vec<Self> {
        match self.is(Fault::NotUndone) || self.is(Fault::RemovedFirst) {
            true => self.stopped(script),
            false => Vec::new(),
        }
    }

    /// What a failing turn leaves, and what it says; nothing if it ends with an error.
    #[must_use]
    pub fn cycle_fails(&self, turn: &Turn) -> Vec<(Self, Option<Reply>)> {
        let mut ways = vec![(self.clone(), None)];
        let stopped = self.fails(|store| drop(store.cycle(turn)));
        ways.extend(stopped.into_iter().map(|left| (left, None)));
        if self.is(Fault::NotUndone) || self.is(Fault::RemovedFirst) {
            return ways;
        }
        for at in 0..turn.endings.len() {
            let mut left = self.clone();
            let said = left.settle_all(turn, Some(at));
            // Not if the turn repeats what it said, or the lease is gone anyway.
            let held = self.holder(turn.worker).leases.contains(&turn.endings[at].id);
            if held && said.get(at) == Some(&Said::Kept) {
                let reply = left.lease_all(turn, said);
                ways.push((left, Some(reply)));
            }
        }
        if !turn.endings.is_empty() {
            let mut left = self.clone();
            let said = left.settle_all(turn, None);
            let (length, parked) = (left.queue.len(), left.names_parked);
            let reply = Reply { said, leased: Vec::new(), length, parked, state: State::Open };
            ways.push((left, Some(reply)));
        }
        ways
    }
}
