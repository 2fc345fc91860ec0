//! A panic ends the task of one connection or of one job, and no door.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use super::Door;

impl Door {
    /// Completes `task`. Returns `None` if it panics: the panic is counted, and the log has its
    /// message. Every task that reads bytes of a foreign program runs in here.
    ///
    /// The state that tasks share stays consistent: no code panics while it holds a lock.
    pub(crate) async fn guarded<T>(&self, task: impl Future<Output = T>) -> Option<T> {
        let ended = AssertUnwindSafe(task).catch_unwind().await;
        if ended.is_err() {
            self.panicked();
        }
        ended.ok()
    }

    /// Counts and logs a task that panicked.
    pub(crate) fn panicked(&self) {
        self.metrics.refused("panic");
        tracing::error!(gateway = self.name, "a task panicked (a bug in Redcall)");
    }
}
