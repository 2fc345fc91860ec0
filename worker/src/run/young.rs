//! A job whose place in a lane inbox is its lease, until it is adopted.
//!
//! ```text
//! in the lane ── ended with a plain outcome ──> settled by the lane
//!      └── a millisecond has passed, or it needs a real lease ──> adopting ──> leased
//! ```
//!
//! A leased job is the dispatcher's, like any other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redcall_store::Outcome;
use tokio::sync::Notify;

use super::capacity::Capacity;

/// See the module. Written by the job, its lane and the dispatcher.
pub(crate) struct Young {
    state: Mutex<State>,
    /// Wakes the lane.
    lane: Arc<Notify>,
    leased: Notify,
    capacity: Arc<Capacity>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// The outcome, until the lane or the dispatcher takes it.
    outcome: Option<Box<Outcome>>,
    /// The job needs a real lease now.
    needs_lease: bool,
    /// The run is over.
    released: bool,
    /// The run holds the capacity of one job.
    uses_capacity: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    InLane,
    Adopting,
    Leased,
}

/// The receiver of the end of a run.
pub(crate) enum Receiver {
    /// The job was in a lane, and has given its capacity back. `true`: there was none left.
    Lane(bool),
    Dispatcher,
}

/// The changes of a job during its adoption.
pub(crate) struct Meanwhile {
    pub(crate) outcome: Option<Box<Outcome>>,
    pub(crate) released: bool,
    pub(crate) uses_capacity: bool,
}

impl Young {
    /// `lane` is notified of the end; `capacity` has been taken.
    pub(crate) fn new(lane: Arc<Notify>, capacity: Arc<Capacity>) -> Self {
        let state = Mutex::new(State { uses_capacity: true, ..State::default() });
        Self { state, lane, leased: Notify::new(), capacity }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the outcome of the run; returns it if the dispatcher has to settle it.
    pub(crate) fn settle(&self, outcome: Box<Outcome>) -> Option<Box<Outcome>> {
        let mut state = self.state();
        if state.phase == Phase::Leased {
            return Some(outcome);
        }
        state.outcome = Some(outcome);
        drop(state);
        self.lane.notify_one();
        None
    }

    /// Records that the run is over. Called once.
    pub(crate) fn released(&self) -> Receiver {
        let mut state = self.state();
        match state.phase {
            Phase::InLane => {
                (state.released, state.uses_capacity) = (true, false);
                drop(state);
                let was_full = self.capacity.give_back();
                self.lane.notify_one();
                Receiver::Lane(was_full)
            }
            // The dispatcher gives its capacity back.
            Phase::Adopting => {
                state.released = true;
                Receiver::Lane(false)
            }
            Phase::Leased => Receiver::Dispatcher,
        }
    }

    /// Waits until the job has a real lease. Cancel safe.
    pub(crate) async fn lease(&self) {
        let leased = self.leased.notified();
        {
            let mut state = self.state();
            if state.phase == Phase::Leased {
                return;
            }
            state.needs_lease = true;
        }
        self.lane.notify_one();
        leased.await;
    }

    /// Returns `true` if it no longer runs in its lane.
    pub(crate) fn has_ended(&self) -> bool {
        let state = self.state();
        state.phase != Phase::InLane || state.outcome.is_some()
    }

    /// Returns `true` if it needs a real lease now, or its run was dropped.
    pub(crate) fn needs_lease(&self) -> bool {
        let state = self.state();
        state.needs_lease || state.released
    }

    /// Takes the outcome, if the lane may settle it.
    pub(crate) fn take_plain_outcome(&self) -> Option<Box<Outcome>> {
        let mut state = self.state();
        let is_in_lane = state.phase == Phase::InLane;
        state.outcome.take_if(|outcome| is_in_lane && outcome.is_plain())
    }

    /// Begins its adoption: from now on the lane has no part in it.
    pub(crate) fn adopt(&self) {
        self.state().phase = Phase::Adopting;
    }

    /// Ends its adoption: the job is the dispatcher's.
    pub(crate) fn adopted(&self) -> Meanwhile {
        let mut state = self.state();
        state.phase = Phase::Leased;
        let State { released, uses_capacity, .. } = *state;
        let meanwhile = Meanwhile { outcome: state.outcome.take(), released, uses_capacity };
        drop(state);
        self.leased.notify_waiters();
        meanwhile
    }
}
