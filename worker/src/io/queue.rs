//! What the dispatcher knows of one queue.

use std::sync::Arc;

use redcall_common::store::{Outcome, Settled, WorkerKeys};
use tokio::sync::oneshot;

use super::pops::Pops;

/// An outcome on its way, and who wants to hear how it went.
pub(crate) struct Leaving {
    pub(crate) outcome: Outcome,
    pub(crate) heard: Option<oneshot::Sender<Settled>>,
}

/// One queue, as the dispatcher last saw it. Read and written by the dispatcher alone.
pub(crate) struct Queue {
    pub(crate) keys: Arc<WorkerKeys>,
    pub(crate) pops: Pops,
    /// Its length at the last look; `None` before the first and after a failure.
    pub(crate) length: Option<usize>,
    /// Whether a blocked pop is out.
    pub(crate) popping: bool,
    /// Whether a reply was lost, so that it may hold leases that nobody here knows.
    pub(crate) unsure: bool,
    /// How many heartbeats in a row found more leases than are known here.
    pub(crate) surplus: u32,
    /// What the next turn settles.
    pub(crate) leaving: Vec<Leaving>,
    /// Names whose parked requests the next turn takes first.
    pub(crate) parked: Vec<String>,
}

impl Queue {
    pub(crate) fn new(keys: Arc<WorkerKeys>, pops: Pops) -> Self {
        let (leaving, parked) = (Vec::new(), Vec::new());
        Self {
            keys,
            pops,
            length: None,
            popping: false,
            unsure: false,
            surplus: 0,
            leaving,
            parked,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.keys.queue.name()
    }

    /// Its last reply was lost or is out of date.
    pub(crate) fn doubt(&mut self) {
        self.length = None;
        self.unsure = true;
    }

    /// Whether the next turn reads back what this worker holds. Not while a pop is out: what it
    /// has leased would be found there before its reply comes, and started twice.
    pub(crate) fn to_read_back(&self) -> bool {
        self.unsure && !self.popping
    }

    /// Whether a turn may find something to take.
    pub(crate) fn may_have_work(&self) -> bool {
        self.length != Some(0) || !self.parked.is_empty()
    }
}
