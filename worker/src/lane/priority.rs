//! Strict priority over the lanes of a worker's queues: a lane takes several requests at once only
//! if no queue before its own is known to have any.

use std::sync::atomic::{AtomicBool, Ordering};

/// By queue, in priority order: whether requests wait. Written by the lane or the dispatcher,
/// whichever works on the queue.
pub(crate) struct Priority(Vec<AtomicBool>);

impl Priority {
    pub(crate) fn new(queues: usize) -> Self {
        Self((0..queues).map(|_| AtomicBool::new(false)).collect())
    }

    /// Records whether requests wait in a queue.
    pub(crate) fn note(&self, queue: usize, waits: bool) {
        if let Some(flag) = self.0.get(queue) {
            flag.store(waits, Ordering::Release);
        }
    }

    /// Returns `true` if requests are known to wait in a queue.
    pub(crate) fn waits(&self, queue: usize) -> bool {
        self.0.get(queue).is_some_and(|waits| waits.load(Ordering::Acquire))
    }

    /// Returns `true` if no queue before this one is known to have requests.
    pub(crate) fn is_first(&self, queue: usize) -> bool {
        self.0.iter().take(queue).all(|waits| !waits.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_is_first_while_none_before_it_has_requests() {
        let priority = Priority::new(3);
        priority.note(1, true);
        assert!(priority.is_first(0) && priority.is_first(1) && !priority.is_first(2));
        priority.note(1, false);
        assert!(priority.is_first(2));
    }
}
