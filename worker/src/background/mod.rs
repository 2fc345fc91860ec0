//! Background loops: the tasks of a worker alongside its dispatcher, one file each.
//!
//! One contract for all of them:
//!
//! - **Start.** `spawn` of its file starts a loop, and returns a [`Background`] that owns it. A
//!   loop owns its input, or shares it by `Arc`; it sends results over a channel.
//! - **Stop.** Dropping the [`Background`] ends the loop at its next await, without a message to
//!   it. So no loop needs to put anything in order first. [`Background::end`] also waits until the
//!   loop has ended: after that it sends no more commands.
//! - **Failure.** A loop retries errors of Redis by itself, and ends with no error. If it panicked,
//!   the log names it when it is stopped; the panic itself is logged at once.
//!
//! | file | loop |
//! |---|---|
//! | `pops.rs` | the blocked pop of one queue |
//! | `schedules.rs` | the ticks of one schedule |
//! | `heartbeat_events.rs` | heartbeats for other systems |
//! | `tally.rs` | the sum of stored answers |
//! | `reload.rs` | reading the settings again at SIGHUP |
//! | `signals.rs` | stop signals |
//!
//! The dispatcher's round of heartbeats and its repairs are a [`Background`] each, too: they end by
//! themselves, and the next heartbeat starts the next ones. `safety.rs` has one check at the start,
//! in a task of its own.

pub(crate) mod heartbeat_events;
pub(crate) mod pops;
pub(crate) mod reload;
pub(crate) mod safety;
pub(crate) mod schedules;
pub(crate) mod signals;
pub(crate) mod tally;

use futures_util::FutureExt;
use tokio::task::{JoinError, JoinHandle};

/// A running background loop; see the module. Dropping this ends the loop.
#[must_use = "dropping it ends the loop"]
pub(crate) struct Background {
    name: &'static str,
    /// Taken when the loop is ended.
    task: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts the loop `name` on the present runtime.
    pub(crate) fn spawn(
        name: &'static str,
        body: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self { name, task: Some(tokio::spawn(body)) }
    }

    /// Returns `true` if the loop has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends the loop, and waits until it has ended.
    pub(crate) async fn end(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            note(self.name, task.await);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            task.now_or_never().into_iter().for_each(|ended| note(self.name, ended));
        }
    }
}

fn note(name: &str, ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!(name, "a background loop panicked");
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn dropped_or_ended_loop_drops_its_input() {
        let (input, mut ended) = oneshot::channel::<()>();
        let body = |input: oneshot::Sender<()>| async move {
            let _input = input;
            std::future::pending::<()>().await;
        };
        let background = Background::spawn("test", body(input));
        tokio::task::yield_now().await;
        assert!(!background.has_ended() && ended.try_recv().is_err());
        drop(background);
        assert!(ended.await.is_err());
        let (input, mut ended) = oneshot::channel();
        let mut background = Background::spawn("test", body(input));
        background.end().await;
        assert!(background.has_ended());
        assert_eq!(ended.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
