//! A script fails at one of its commands: a right is missing, or a key has a wrong type.
//!
//! Redis undoes nothing. A failing script undoes its own effects: all of them, or those of the half
//! or the one outcome that failed. The faults [`Fault::NotUndone`] and [`Fault::RemovedFirst`]
//! leave the effects of the commands before the failing one.

use super::poll::{PollStep, Reply, State};
use super::state::{Fault, SettleResult, Store};

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

    /// The stores that `script` leaves, by failing command, if nothing is undone.
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

    /// The stores that a failing `script` leaves, if they differ from the store before it.
    #[must_use]
    pub fn fails(&self, script: impl FnOnce(&mut Self)) -> Vec<Self> {
        match self.is(Fault::NotUndone) || self.is(Fault::RemovedFirst) {
            true => self.stopped(script),
            false => Vec::new(),
        }
    }

    /// The stores that a failing poll leaves, each with its reply; none if it ends with an error.
    #[must_use]
    pub fn poll_fails(&self, poll: &PollStep) -> Vec<(Self, Option<Reply>)> {
        let mut ways = vec![(self.clone(), None)];
        let stopped = self.fails(|store| drop(store.poll(poll)));
        ways.extend(stopped.into_iter().map(|left| (left, None)));
        if self.is(Fault::NotUndone) || self.is(Fault::RemovedFirst) {
            return ways;
        }
        for at in 0..poll.outcomes.len() {
            let mut left = self.clone();
            let results = left.settle_all(poll, Some(at));
            // If the poll repeats its reply, or the lease is gone, no command fails.
            let held = self.holder(poll.worker).leases.contains(&poll.outcomes[at].id);
            if held && results.get(at) == Some(&SettleResult::Kept) {
                let reply = left.lease_all(poll, results);
                ways.push((left, Some(reply)));
            }
        }
        if !poll.outcomes.is_empty() {
            let mut left = self.clone();
            let results = left.settle_all(poll, None);
            let (length, parked) = (left.queue.len(), left.names_parked);
            let reply = Reply { results, leased: Vec::new(), length, parked, state: State::Open };
            ways.push((left, Some(reply)));
        }
        ways
    }
}
