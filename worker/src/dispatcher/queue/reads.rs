//! Reading the state that control messages named, and moving due requests.

use std::sync::Arc;
use std::time::Duration;

use redcall_store::{Connection, Promoted, QueueState, UpkeepOps as _, WorkerKeys};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::Queue;
use super::notices::Named;
use crate::dispatcher::io_event::IoEvent;
use crate::dispatcher::jobs::{EndReason, Jobs};
use crate::dispatcher::setup::Setup;
use crate::time::{REDIS_PAUSE, REDIS_TIMEOUT};

/// Longest jitter that spreads actions of all workers at the same moment.
const MAX_JITTER_MS: u64 = 20;

impl Queue {
    /// Takes the names of control messages. Drops requests that do not run here.
    pub(crate) fn received(&mut self, mut named: Named, jobs: &Jobs, setup: &Setup) {
        named.cancelled.retain(|id| jobs.runs(self.index, id));
        named.extended.retain(|id| jobs.runs(self.index, id));
        let due = named.due_ms.map(|at_ms| setup.instant_of(at_ms));
        self.reads.add(named, due);
        self.read_named(jobs, setup);
    }

    /// Reads the state that control messages named, unless that is due later.
    fn read_named(&mut self, jobs: &Jobs, setup: &Setup) {
        let Some(read) = self.reads.begin(Instant::now()) else { return };
        if read.work {
            self.wake();
        }
        for id in &read.extended {
            jobs.read_deadline(self.index, id);
        }
        if read.due {
            self.promote(setup);
        }
        if let Some(ids) = read.state {
            let (link, events) = setup.for_task();
            tokio::spawn(read_state(link, self.keys.clone(), self.index, ids, events));
        }
    }

    /// Acts on the state that was read; `None` if Redis could not be queried.
    pub(crate) fn state_read(&mut self, state: Option<QueueState>, jobs: &mut Jobs, setup: &Setup) {
        self.reads.returned();
        if let Some(QueueState { paused, cancelled }) = state {
            self.note_paused(paused);
            for id in &cancelled {
                jobs.end_by_id(self.index, id, &EndReason::Cancelled);
            }
        }
        self.read_named(jobs, setup);
    }

    /// Moves due requests to the queue.
    fn promote(&mut self, setup: &Setup) {
        // A rate may allow more; requests were partitioned since the last heartbeat, too.
        if setup.mapping.is_limited() || !self.limited.is_empty() {
            self.wake();
        }
        let (link, events) = setup.for_task();
        tokio::spawn(promote(link, self.keys.clone(), self.index, events));
    }

    /// Records that due requests were moved; `None` if Redis could not be queried.
    pub(crate) fn promoted(&mut self, promoted: Option<Promoted>, setup: &Setup) {
        let due = match &promoted {
            Some(promoted) => promoted.due_ms.map(|due| setup.instant_of(due)),
            None => Some(Instant::now() + REDIS_PAUSE),
        };
        if let Some(due) = due {
            self.note_due(due);
        }
        if promoted.is_some_and(|promoted| promoted.moved > 0) {
            self.forget_length();
        }
    }

    /// Acts on everything that is due by now; see [`Queue::next_check`].
    pub(crate) fn check(&mut self, jobs: &Jobs, setup: &Setup) {
        if self.end_pauses() {
            self.promote(setup);
        }
        self.read_named(jobs, setup);
    }
}

/// Reads the state that control messages named: the queue's pause, and which of `ids` are
/// cancelled.
async fn read_state(
    link: Arc<Connection>,
    keys: Arc<WorkerKeys>,
    queue: usize,
    ids: Vec<String>,
    events: mpsc::UnboundedSender<IoEvent>,
) {
    let state = link.queue_state(&keys.queue, &ids, REDIS_TIMEOUT).await;
    let state = state.inspect_err(|error| {
        tracing::debug!(%error, "cannot read the state that a message named");
    });
    let _ = events.send(IoEvent::StateRead { queue, state: state.ok() });
}

/// Moves due requests of a queue, after a random delay: one worker is enough.
async fn promote(
    link: Arc<Connection>,
    keys: Arc<WorkerKeys>,
    queue: usize,
    events: mpsc::UnboundedSender<IoEvent>,
) {
    sleep(Duration::from_millis(u64::from(std::process::id()) % MAX_JITTER_MS)).await;
    let promoted = link.promote(&keys.queue, REDIS_TIMEOUT).await;
    let promoted = promoted.inspect_err(|error| tracing::debug!(%error, "cannot promote yet"));
    let _ = events.send(IoEvent::Promoted { queue, promoted: promoted.ok() });
}
