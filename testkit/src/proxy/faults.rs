//! What the proxy is told, by tests; and what its connections do because of it.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::catch::{Catch, Exchange, Fate, Held};

/// What becomes of replies that nobody waits for in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Replies {
    #[default]
    Pass,
    Hold,
    Lose,
}

/// What holds for all connections.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mode {
    pub(super) replies: Replies,
    pub(super) delay: Duration,
    pub(super) refuses: bool,
}

/// Written by tests, read by connections.
#[derive(Default)]
pub(super) struct Faults {
    mode: watch::Sender<Mode>,
    catches: Mutex<Vec<Catch>>,
    era: Mutex<Ages>,
}

/// A connection's share in its era, from one cut to the next.
pub(super) struct Era {
    /// Ends with the era.
    end: watch::Receiver<()>,
    /// Tells that the connection is gone.
    _alive: mpsc::Sender<Infallible>,
}

impl Era {
    pub(super) async fn end(&mut self) {
        // Nothing is ever sent.
        let _ = self.end.changed().await;
    }
}

/// The present era, for as long as it lasts.
struct Ages {
    end: watch::Sender<()>,
    alive: mpsc::Sender<Infallible>,
    /// Closed when all connections of the era are gone.
    gone: mpsc::Receiver<Infallible>,
}

impl Default for Ages {
    fn default() -> Self {
        let (alive, gone) = mpsc::channel(1);
        Self { end: watch::channel(()).0, alive, gone }
    }
}

impl Faults {
    pub(super) fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Mode)) {
        self.mode.send_modify(change);
    }

    /// The era that a new connection belongs to.
    pub(super) fn era(&self) -> Era {
        let era = locked(&self.era);
        Era { end: era.end.subscribe(), _alive: era.alive.clone() }
    }

    /// Ends all connections, and waits until they have ended.
    pub(super) async fn cut(&self) {
        let Ages { end, alive, mut gone } = std::mem::take(&mut *locked(&self.era));
        drop((end, alive));
        while gone.recv().await.is_some() {}
    }

    pub(super) fn hold(
        &self,
        wanted: impl FnMut(&Exchange<'_>) -> bool + Send + 'static,
    ) -> oneshot::Receiver<Held> {
        let (caught, catch) = oneshot::channel();
        locked(&self.catches).push(Catch::hold(Box::new(wanted), caught));
        catch
    }

    pub(super) fn lose(
        &self,
        wanted: impl FnMut(&Exchange<'_>) -> bool + Send + 'static,
    ) -> oneshot::Receiver<()> {
        let (caught, catch) = oneshot::channel();
        locked(&self.catches).push(Catch::lose(Box::new(wanted), caught));
        catch
    }

    /// What becomes of a reply; decided when somebody who waits for it has decided.
    pub(super) async fn fate(&self, exchange: &Exchange<'_>) -> Fate {
        let caught = {
            let mut catches = locked(&self.catches);
            catches.retain(Catch::is_open);
            let at = catches.iter_mut().position(|catch| catch.wants(exchange));
            at.map(|at| catches.remove(at).tell(exchange))
        };
        match caught {
            Some(fate) => fate.await.unwrap_or(Fate::Cut),
            None => Fate::Pass,
        }
    }

    /// Whether replies pass or are lost, as soon as they are not held.
    pub(super) async fn decided(&self) -> Replies {
        let mut mode = self.mode.subscribe();
        let decided = mode.wait_for(|mode| mode.replies != Replies::Hold).await;
        // The sender lives as long as this.
        decided.map_or(Replies::Lose, |mode| mode.replies)
    }
}

/// A test that panics while it holds a lock fails anyway.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
