//! The probe: a request of the worker's own, which its polls lease and settle like every other.
//!
//! It uses no capacity and no handler: a worker at its concurrency limit, or with blocked handler
//! threads, still consumes. At most one probe runs at a time, and at most one a second, however
//! many checks request one.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::keys::QueueKeys;
use redcall_store::{
    Connection, Outcome, PollOps as _, Settled, Settlement, StoreError, WorkerKeys,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::dispatcher::io_event::IoEvent;
use crate::dispatcher::polls::poll::{FinishedPoll, Reply};
use crate::dispatcher::queue::part::Part;
use crate::readiness::report::Report;
use crate::time::REDIS_TIMEOUT;

/// How long a result is reused for readiness checks.
pub(super) const REUSED_FOR: Duration = Duration::from_secs(1);
/// How long a readiness check waits for a probe.
const MAX_TIMEOUT: Duration = Duration::from_secs(1);

/// Next step of the probe in progress.
enum Step {
    /// It is being stored for the poll.
    Put,
    /// The next poll leases it.
    Lease,
    /// The next poll settles it.
    Settle,
    /// It is part of the poll in flight.
    Out,
    /// It waits for the worker's next heartbeat; then it is leased.
    AwaitHeartbeat,
}

/// See the module. Read and written by the dispatcher alone.
pub(crate) struct Probe {
    keys: Arc<WorkerKeys>,
    /// Number of the last probe.
    serial: u64,
    began: Instant,
    step: Option<Step>,
    /// Time and result of the last probe.
    last: Option<(Instant, Result<Duration, String>)>,
    /// Readiness checks that wait for the probe.
    waiting: Vec<oneshot::Sender<Report>>,
    timeout: Duration,
}

impl Probe {
    /// Returns the probe of `worker`, with its own keys on `queue`, one of the worker's queues.
    pub(crate) fn new(queue: &QueueKeys, worker: &str, lease: Duration) -> Self {
        Self {
            keys: Arc::new(WorkerKeys::probe(queue, worker)),
            serial: 0,
            began: Instant::now(),
            step: None,
            last: None,
            waiting: Vec::new(),
            timeout: lease.min(MAX_TIMEOUT),
        }
    }

    /// Has a readiness check wait for the probe.
    pub(crate) fn wait(&mut self, check: oneshot::Sender<Report>) {
        self.waiting.push(check);
    }

    /// Returns the waiting checks, to answer them.
    pub(crate) fn take_waiting(&mut self) -> Vec<oneshot::Sender<Report>> {
        std::mem::take(&mut self.waiting)
    }

    /// Begins a probe, unless one is in progress or the last result is recent.
    pub(crate) fn begin(
        &mut self,
        link: &Arc<Connection>,
        events: &mpsc::UnboundedSender<IoEvent>,
    ) {
        let is_recent = self.last.as_ref().is_some_and(|(at, _)| at.elapsed() < REUSED_FOR);
        if self.step.is_some() || is_recent {
            return;
        }
        (self.began, self.step) = (Instant::now(), Some(Step::Put));
        self.serial += 1;
        let envelope = format!(r#"{{"id":"{}","name":"probe","data":null}}"#, self.id());
        let (link, keys, events) = (link.clone(), self.keys.clone(), events.clone());
        // Apart from the poll, which must not fail if Redis refuses this.
        tokio::spawn(async move {
            let put = link.put_probe(&keys, &envelope, REDIS_TIMEOUT).await;
            let _ = events.send(IoEvent::ProbePut(put));
        });
    }

    fn id(&self) -> String {
        format!("probe-{}", self.serial)
    }

    pub(crate) fn put(&mut self, put: Result<(), StoreError>) {
        match put {
            Ok(()) => self.step = Some(Step::Lease),
            Err(error) => self.end(Err(error.to_string())),
        }
    }

    /// Records that the worker's heartbeat was stored.
    pub(crate) fn heartbeat_stored(&mut self) {
        if matches!(self.step, Some(Step::AwaitHeartbeat)) {
            self.step = Some(Step::Lease);
        }
    }

    /// Returns `true` if the next poll leases the probe, and polls every queue.
    pub(crate) fn is_to_lease(&self) -> bool {
        matches!(self.step, Some(Step::Lease))
    }

    /// Returns the probe's part of the next poll.
    pub(crate) fn part(&mut self) -> Option<Part> {
        let outcome = match self.step {
            Some(Step::Lease) => None,
            Some(Step::Settle) => Some(Outcome::new(self.id(), Settlement::Done)),
            None | Some(Step::Put | Step::Out | Step::AwaitHeartbeat) => return None,
        };
        self.step = Some(Step::Out);
        Some(Part::of_probe(self.keys.clone(), self.serial, outcome))
    }

    /// Removes the probe's part from a poll that has ended.
    pub(crate) fn take_reply(&mut self, finished: &mut FinishedPoll) {
        if !matches!(self.step, Some(Step::Out)) {
            return;
        }
        finished.parts.pop();
        match &mut finished.replies {
            Ok(replies) => match replies.pop() {
                Some(Ok(Reply { poll, .. })) if poll.settled == [Settled::Yes] => {
                    self.end(Ok(self.began.elapsed()));
                }
                Some(Ok(Reply { poll, .. })) if !poll.leased.is_empty() => {
                    self.step = Some(Step::Settle);
                }
                Some(Ok(Reply { poll, .. })) if poll.expired => {
                    self.step = Some(Step::AwaitHeartbeat);
                }
                Some(Err(error)) => {
                    let problem = error.to_string();
                    self.end(Err(problem));
                }
                _ => self.end(Err("it was neither leased nor settled".to_owned())),
            },
            // The next probe replaces the remains of this one.
            Err(error) => {
                let problem = error.to_string();
                self.end(Err(problem));
            }
        }
    }

    fn end(&mut self, how: Result<Duration, String>) {
        self.step = None;
        self.last = Some((Instant::now(), how));
    }

    /// Forgets the last result: the connection is a new one.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// Returns `true` if the waiting checks can be answered now.
    pub(crate) fn is_over(&self) -> bool {
        !self.waiting.is_empty() && (self.step.is_none() || self.is_late())
    }

    /// Returns `true` if the waiting checks must be answered now.
    pub(crate) fn is_late(&self) -> bool {
        self.began.elapsed() >= self.timeout
    }

    /// Returns the time at which the waiting checks must be answered.
    pub(crate) fn next(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.began + self.timeout)
    }

    /// Returns the duration of the last probe.
    pub(crate) fn result(&self) -> Result<Option<Duration>, String> {
        let out = self.began.elapsed();
        if self.step.is_some() && out >= self.timeout {
            return Err(format!("the probe has been in flight for {} ms", out.as_millis()));
        }
        match &self.last {
            Some((_, Ok(took))) => Ok(Some(*took)),
            Some((_, Err(problem))) => Err(format!("the probe failed: {problem}")),
            None => Ok(None),
        }
    }
}
