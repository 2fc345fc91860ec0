//! The context that a handler's task passes on to its calls: remaining time and cancellation.
//!
//! Set by the worker around a handler, read by the client inside one; the two do not depend on each
//! other. Tasks that a handler spawns have no context, unless they are scoped again.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

tokio::task_local! {
    static CURRENT: Context;
}

/// The context of one run of a handler. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The caller's deadline; `None` if there is none.
    pub deadline: Option<Instant>,
    /// Fires when the run is cancelled.
    pub cancel: CancellationToken,
}

impl Context {
    /// Returns the context of the handler that this task runs, if any.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Returns the time left until the deadline; `None` if there is none.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Runs `future` in this context. Cancel-safe if `future` is.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Runs the blocking `function` in this context, including futures that it blocks on.
    pub fn sync_scope<T>(self, function: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_context_is_seen_inside_its_scope_only() {
        assert!(Context::current().is_none());
        let deadline = Some(Instant::now() + Duration::from_secs(60));
        let context = Context { deadline, ..Context::default() };
        let inside = context.clone().scope(async { Context::current() }).await;
        assert_eq!(inside.and_then(|inside| inside.deadline), deadline);
        assert!(context.sync_scope(Context::current).is_some() && Context::current().is_none());
    }
}
