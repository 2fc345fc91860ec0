//! A worker's lane on one queue: the short way of a plain request on an idle queue.
//!
//! A task on the handlers' runtime pops a request, runs it and settles it, over a connection of its
//! own. The request's place in the lane inbox is its lease, and the settlement leaves in one write
//! with the next pop. While requests wait, one script settles and takes the next ones. Everything
//! else is the dispatcher's: the lane hands it over.
//!
//! ```text
//!            arm                    request, gate open            ended, plain
//!  at rest ───────> popping ───────────────────────> running ───────────────────┐
//!     ^                ^  │                             │ a millisecond has     │
//!     │                │  │ anything else               │ passed, or it needs   │
//!     │                │  v                             v a real lease          │
//!     └── adopted ── handed over <──────────────────────┘                       │
//!                      └───────── settle, and pop in the same write ────────────┘
//! ```
//!
//! A handed-over inbox is adopted by the dispatcher's connection (`adopt.rs`): requests that were
//! started get a real lease, all others return to the queue. If the lane's task is stuck, since a
//! handler blocks its thread, the dispatcher takes over its state and cuts its connection.
//!
//! | file | holds |
//! |---|---|
//! | `messages.rs` | its messages, and the parts of a worker that it needs |
//! | `shared.rs` | the state of the inbox, which the dispatcher may take over |
//! | `task.rs` | the loop |
//! | `adopt.rs` | the adoption of an inbox |
//! | `rest.rs` | when a lane does not pay |
//! | `priority.rs` | strict priority over queues |
//!
//! Design: docs/internals/decisions/0030.

mod adopt;
mod messages;
mod priority;
mod rest;
mod shared;
mod task;

use std::sync::Arc;
use std::time::Duration;

use redcall_store::{
    Connection, Connector, LaneKeys, LaneOps as _, LanePop, Session as _, StoreError, Unblocker,
    WorkerKeys,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(crate) use self::adopt::Adopted;
pub(crate) use self::messages::{Arm, End, Event, Parts, Why};
pub(crate) use self::priority::Priority;
use self::rest::Rest;
use self::shared::Shared;
pub(crate) use self::shared::{HandedOver, Started};
use self::task::Task;
use crate::mapping::Mapping;
use crate::time::REDIS_TIMEOUT;

/// A lane, as the dispatcher has it. Dropping it ends its task.
pub(crate) struct Lane {
    queue: usize,
    keys: Arc<LaneKeys>,
    shared: Arc<Shared>,
    arm: mpsc::Sender<Arm>,
    unblocker: Unblocker,
    events: mpsc::UnboundedSender<(usize, Event)>,
    rest: Rest,
    task: JoinHandle<()>,
    /// `true` while its task is stuck, after a take-over of its state.
    is_stuck: bool,
    /// Whether, and how, the task is watched.
    watch: Watch,
}

/// The watch over a lane's task.
#[derive(Default)]
struct Watch {
    is_on: bool,
    /// The signs of life, and the number of jobs, at the last check.
    seen: (u64, u64),
    /// Number of checks in a row without another one.
    silent: u32,
}

/// The number of checks without a sign of life after which a task is stuck.
const SILENT_MAX: u32 = 2;
/// The time between two checks.
pub(crate) const CHECK_EVERY: Duration = Duration::from_millis(15);

impl Lane {
    /// Starts the task of a lane. It does nothing, and has no connection, until it is armed.
    /// `queue`: its index, and the worker's keys on it.
    pub(crate) fn spawn(
        (queue, own): (usize, Arc<WorkerKeys>),
        parts: Parts,
        connector: Connector,
        handlers: &Handle,
    ) -> Self {
        let keys = Arc::new(LaneKeys::new((*own).clone(), 0));
        let shared = Arc::new(Shared::new());
        let (arm, arms) = mpsc::channel(1);
        let pop = LanePop::new(connector);
        let unblocker = pop.unblocker();
        let events = parts.events.clone();
        let task = Task::new((queue, own), parts, keys.clone(), shared.clone(), pop);
        let task = handlers.spawn(task.run(arms));
        let (rest, watch) = (Rest::new(), Watch::default());
        Self { queue, keys, shared, arm, unblocker, events, rest, task, is_stuck: false, watch }
    }

    /// Returns `true` if it may be armed.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_stuck && !self.task.is_finished() && self.rest.is_over(Instant::now())
    }

    /// Has it work; `waits`: requests wait in the queue. It answers with [`Event::Ended`]; it must
    /// be at rest.
    pub(crate) fn arm(&mut self, block: Duration, waits: bool, mapping: &Arc<Mapping>) {
        self.shared.arm();
        // Never full: it is armed again only after its end.
        let _ = self.arm.try_send(Arm { waits, block, mapping: mapping.clone() });
    }

    /// Records that a heartbeat has renewed the worker's lease on the queue. It ends at
    /// `lease_ends_ms`, Redis time.
    pub(crate) fn renewed(&self, lease_ends_ms: u64) {
        self.shared.renewed(lease_ends_ms);
    }

    /// Has it come to rest soon.
    pub(crate) fn recall(&self, link: &Arc<Connection>) {
        self.shared.recall();
        let (link, unblocker) = (link.clone(), self.unblocker.clone());
        // In a task: the dispatcher must continue if Redis does not answer.
        tokio::spawn(async move {
            if let Err(error) = link.unblock(&unblocker, REDIS_TIMEOUT).await {
                tracing::debug!(%error, "cannot unblock a lane's pop: it ends by its own timeout");
            }
        });
    }

    /// Records its end. An inbox that was handed over is adopted; [`Event::Adopted`] follows then.
    /// Returns `true` if it is at rest.
    pub(crate) fn ended(
        &mut self,
        why: &Why,
        inbox: Option<HandedOver>,
        link: &Arc<Connection>,
    ) -> bool {
        self.rest.ended(why, self.shared.take_settled(), Instant::now());
        match inbox {
            None => true,
            Some(inbox) => {
                self.adopt(inbox, link);
                false
            }
        }
    }

    fn adopt(&self, inbox: HandedOver, link: &Arc<Connection>) {
        let (link, events, queue) = (link.clone(), self.events.clone(), self.queue);
        let (keys, unblocker) = (self.keys.clone(), self.unblocker.clone());
        tokio::spawn(async move {
            let adopted = adopt::adopt(&link, &keys, &unblocker, inbox).await;
            let _ = events.send((queue, Event::Adopted(Box::new(adopted))));
        });
    }

    /// Watches the task from now on.
    pub(crate) fn watch(&mut self) {
        self.watch.is_on = true;
    }

    /// Returns `true` if it has to be checked every [`CHECK_EVERY`].
    pub(crate) fn is_watched(&self) -> bool {
        self.watch.is_on
    }

    /// Checks that the task runs; `is_busy`: a job of this worker runs. If it is stuck, takes over
    /// its inbox: [`Event::Adopted`] follows, and later [`Event::Ready`].
    pub(crate) fn check(&mut self, is_busy: bool, link: &Arc<Connection>) {
        let (signs, runs) = self.shared.signs();
        let (signs_before, runs_before) = std::mem::replace(&mut self.watch.seen, (signs, runs));
        let (is_alive, is_active) = (signs != signs_before, runs != runs_before);
        self.watch.silent = if is_alive { 0 } else { self.watch.silent + 1 };
        if self.is_stuck || is_active {
            return;
        }
        if self.watch.silent >= SILENT_MAX {
            match self.shared.has_jobs() {
                true => self.seize(link),
                // It may only wait for its turn on a slow machine.
                false => self.read_inbox(link),
            }
        } else if is_alive && !is_busy && self.shared.stop_watch(runs) {
            // Nothing that could block it runs.
            self.watch.is_on = false;
        } else {
            self.shared.wake().notify_one();
        }
    }

    /// Reads whether requests wait in the inbox of a task that does not respond: then
    /// [`Event::Unread`] follows.
    fn read_inbox(&self, link: &Arc<Connection>) {
        let (link, events, queue) = (link.clone(), self.events.clone(), self.queue);
        let keys = self.keys.clone();
        tokio::spawn(async move {
            if link.young(&keys, REDIS_TIMEOUT).await.is_ok_and(|young| young > 0) {
                let _ = events.send((queue, Event::Unread));
            }
        });
    }

    /// Takes over an inbox with requests, if the task still does not respond.
    pub(crate) fn unread(&mut self, link: &Arc<Connection>) {
        let still = self.shared.signs() == self.watch.seen;
        if still && self.watch.silent >= SILENT_MAX && !self.is_stuck {
            self.seize(link);
        }
    }

    /// Takes over the inbox of a task that is stuck.
    fn seize(&mut self, link: &Arc<Connection>) {
        let Some(inbox) = self.shared.seize() else { return };
        let queue = self.keys.own.queue.name();
        tracing::debug!(queue, "took over a lane: its task does not run");
        self.is_stuck = true;
        self.adopt(inbox, link);
    }

    /// The task runs again.
    pub(crate) fn recovered(&mut self) {
        self.is_stuck = false;
    }

    /// Ends its task and ensures that none of its commands is executed later. Returns the rest of
    /// its inbox.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached.
    pub(crate) async fn close(&mut self, link: &Connection) -> Result<Option<Adopted>, StoreError> {
        self.task.abort();
        let inbox = self.shared.seize();
        link.cut(&self.unblocker, REDIS_TIMEOUT).await?;
        Ok(match inbox {
            Some(inbox) => Some(adopt::adopt(link, &self.keys, &self.unblocker, inbox).await),
            None => None,
        })
    }
}

#[cfg(test)]
impl Lane {
    /// Returns a lane that never works.
    pub(crate) fn unused(keys: &WorkerKeys) -> Self {
        let (arm, _) = mpsc::channel(1);
        let (events, _) = mpsc::unbounded_channel();
        Self {
            queue: 0,
            keys: Arc::new(LaneKeys::new(keys.clone(), 0)),
            shared: Arc::new(Shared::new()),
            arm,
            unblocker: Unblocker::default(),
            events,
            rest: Rest::new(),
            task: tokio::spawn(std::future::pending()),
            is_stuck: false,
            watch: Watch::default(),
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
    }
}
