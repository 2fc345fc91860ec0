//! The faults that tests set, and their effect on connections.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::catch::{Catch, Exchange, Fate, Held};
use super::dice::{Dice, Roll};
use super::late::{Answered, HeldRequest, RequestHold};

/// The fate of replies that no test waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Replies {
    #[default]
    Pass,
    Hold,
    Lose,
}

/// The faults of all connections.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mode {
    pub(super) replies: Replies,
    pub(super) delay: Duration,
    pub(super) refuses: bool,
    /// Replies come together that arrive within this time of the first.
    pub(super) merge: Duration,
    /// Replies arrive in pieces of at most this many bytes.
    pub(super) piece: Option<NonZeroUsize>,
    /// The bytes of replies per second.
    pub(super) throttle: Option<NonZeroUsize>,
}

/// The state of the present connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    #[default]
    Passing,
    /// Nothing passes, and neither side learns why.
    Silent,
    /// Requests pass; the client receives the end of the replies.
    HalfClosed,
    /// Requests are kept back.
    Detained,
    /// Detained requests go to the server, then the connection ends.
    Delivered,
    Cut,
}

/// Selects replies that are counted.
pub(super) type Counts = fn(&Exchange<'_>) -> bool;

/// Written by tests, read by connections.
#[derive(Default)]
pub(super) struct Faults {
    mode: watch::Sender<Mode>,
    catches: Mutex<Vec<Catch>>,
    request_holds: Mutex<Vec<RequestHold>>,
    era: Mutex<Ages>,
    /// Eras whose connections are neither whole nor closed.
    broken: Mutex<Vec<Ages>>,
    dice: Mutex<Option<Dice>>,
    /// Which of the replies that random faults meet are counted, and how many were.
    counted: Mutex<Option<Counts>>,
    met: AtomicU64,
}

/// A connection's share in its era, from one cut to the next.
pub(super) struct Era {
    phase: watch::Receiver<Phase>,
    /// Signals the end of the connection.
    _alive: mpsc::Sender<Infallible>,
}

impl Era {
    /// Waits for the connection's next phase.
    pub(super) async fn change(&mut self) -> Phase {
        // To break connections for good, the proxy drops the era.
        self.phase.changed().await.map_or(Phase::Cut, |()| *self.phase.borrow_and_update())
    }
}

/// The present era, for as long as it lasts.
struct Ages {
    phase: watch::Sender<Phase>,
    alive: mpsc::Sender<Infallible>,
    /// Closed when all connections of the era are gone.
    gone: mpsc::Receiver<Infallible>,
}

impl Default for Ages {
    fn default() -> Self {
        let (alive, gone) = mpsc::channel(1);
        Self { phase: watch::Sender::default(), alive, gone }
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
        Era { phase: era.phase.subscribe(), _alive: era.alive.clone() }
    }

    /// Ends all connections, and waits until they have ended.
    pub(super) async fn cut(&self) {
        let mut ages = std::mem::take(&mut *locked(&self.broken));
        ages.push(std::mem::take(&mut *locked(&self.era)));
        for Ages { phase, alive, mut gone } in ages {
            drop((phase, alive));
            while gone.recv().await.is_some() {}
        }
    }

    /// Sends the detained requests to the server, and waits until they were executed or refused.
    pub(super) async fn deliver(&self) {
        let broken = std::mem::take(&mut *locked(&self.broken));
        let detained = |ages: &Ages| *ages.phase.borrow() == Phase::Detained;
        let (detained, others): (Vec<Ages>, _) = broken.into_iter().partition(detained);
        locked(&self.broken).extend(others);
        for Ages { phase, alive, mut gone } in detained {
            drop(alive);
            phase.send_replace(Phase::Delivered);
            while gone.recv().await.is_some() {}
        }
    }

    /// Breaks the present connections, until they are cut.
    pub(super) fn break_off(&self, phase: Phase) {
        let era = std::mem::take(&mut *locked(&self.era));
        era.phase.send_replace(phase);
        locked(&self.broken).push(era);
    }

    /// Begins or ends random faults for replies.
    pub(super) fn throw(&self, dice: Option<Dice>) {
        *locked(&self.dice) = dice;
    }

    /// Returns the random fate of the next reply.
    pub(super) fn roll(&self, exchange: &Exchange<'_>) -> Option<Roll> {
        let roll = locked(&self.dice).as_mut().map(Dice::roll)?;
        let met = roll.is_lost || !roll.delay.is_zero();
        if met && locked(&self.counted).is_some_and(|counts| counts(exchange)) {
            self.met.fetch_add(1, Ordering::Relaxed);
        }
        Some(roll)
    }

    /// Counts the replies that are late or lost by chance, and that `counts` accepts.
    pub(super) fn count_met(&self, counts: Counts) {
        *locked(&self.counted) = Some(counts);
    }

    /// Returns their number so far.
    pub(super) fn met(&self) -> u64 {
        self.met.load(Ordering::Relaxed)
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

    pub(super) fn hold_request(
        &self,
        wanted: impl FnMut(&Exchange<'_>) -> bool + Send + 'static,
    ) -> oneshot::Receiver<HeldRequest> {
        let (caught, hold) = oneshot::channel();
        locked(&self.request_holds).push(RequestHold::new(Box::new(wanted), caught));
        hold
    }

    /// Returns the signal for which a request has to wait, if any.
    pub(super) fn holds(&self, request: &[u8]) -> Option<oneshot::Receiver<Answered>> {
        let mut request_holds = locked(&self.request_holds);
        request_holds.retain(RequestHold::is_open);
        let at = request_holds.iter_mut().position(|hold| hold.wants(request));
        at.and_then(|at| request_holds.remove(at).notify(request))
    }

    /// Returns the fate of a reply, after the test that waits for it has decided.
    pub(super) async fn fate(&self, exchange: &Exchange<'_>) -> Fate {
        let caught = {
            let mut catches = locked(&self.catches);
            catches.retain(Catch::is_open);
            let at = catches.iter_mut().position(|catch| catch.wants(exchange));
            at.map(|at| catches.remove(at).notify(exchange))
        };
        match caught {
            Some(fate) => fate.await.unwrap_or(Fate::Cut),
            None => Fate::Pass,
        }
    }

    /// Returns `true` if replies pass or are lost, as soon as they are not held.
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
