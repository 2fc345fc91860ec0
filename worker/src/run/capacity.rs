//! The capacity of a worker: how many jobs run at once, over its dispatcher and its lanes.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Max requests that a poll or a lane takes from a queue at once, and settles. While Redis executes
/// one batch, worker and callers handle the previous one: with a thousand at a time they would wait
/// for each other.
pub(crate) const BATCH_MAX: usize = 128;

/// See the module.
pub(crate) struct Capacity {
    used: AtomicUsize,
    /// 0 once the worker stops.
    max: AtomicUsize,
}

impl Capacity {
    pub(crate) fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max: AtomicUsize::new(max) }
    }

    /// Takes the capacity of one job; `false`: there is none.
    pub(crate) fn take(&self) -> bool {
        let max = self.max.load(Ordering::Acquire);
        let take = |used: usize| (used < max).then_some(used + 1);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    /// Takes the capacity of up to `count` jobs; returns of how many.
    pub(crate) fn take_up_to(&self, count: usize) -> usize {
        (0..count).take_while(|_| self.take()).count()
    }

    /// Gives the capacity of some jobs back that did not start.
    pub(crate) fn give_back_many(&self, count: usize) {
        self.used.fetch_sub(count, Ordering::AcqRel);
    }

    /// Gives the capacity of one job back; returns `true` if there was none left.
    pub(crate) fn give_back(&self) -> bool {
        self.used.fetch_sub(1, Ordering::AcqRel) >= self.max.load(Ordering::Acquire)
    }

    /// Returns how many jobs may start now.
    pub(crate) fn free(&self) -> usize {
        self.max.load(Ordering::Acquire).saturating_sub(self.used())
    }

    /// Returns how many jobs run.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    /// Has no other job start: the worker stops.
    pub(crate) fn close(&self) {
        self.max.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_taken_up_to_its_maximum() {
        let capacity = Capacity::new(2);
        assert!(capacity.take() && capacity.take() && !capacity.take());
        assert_eq!((capacity.used(), capacity.free()), (2, 0));
        assert!(capacity.give_back(), "it was used up");
        assert!(!capacity.give_back());
        assert_eq!(capacity.take_up_to(5), 2);
        capacity.give_back_many(2);
        assert_eq!(capacity.used(), 0);
        capacity.close();
        assert!(!capacity.take());
    }
}
