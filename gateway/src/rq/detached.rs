//! A wait whose request outlives it.

use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that is not dropped before it has completed, only left. Dropping the wait for a call
/// withdraws its request: but a job of rq stays in the inbox of a process that ends, and the next
/// gateway joins the running call.
pub(super) struct Detached<F>(Option<Pin<Box<F>>>);

impl<F> Detached<F> {
    pub(super) fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future> Future for Detached<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = self.0.as_mut() else { return Poll::Pending };
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F> Drop for Detached<F> {
    fn drop(&mut self) {
        // Only a process that ends leaves a wait: the memory is not needed again.
        std::mem::forget(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Dropped<'a>(&'a Cell<bool>);

    impl Drop for Dropped<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    #[tokio::test]
    async fn completed_future_is_dropped() {
        let was_dropped = Cell::new(false);
        let guard = Dropped(&was_dropped);
        let detached = Detached::new(async {
            let _guard = guard;
            7
        });
        assert_eq!(detached.await, 7);
        assert!(was_dropped.get());
    }

    #[test]
    fn left_future_is_not_dropped() {
        let was_dropped = Cell::new(false);
        let guard = Dropped(&was_dropped);
        drop(Detached::new(async {
            let _guard = guard;
        }));
        assert!(!was_dropped.get());
    }
}
