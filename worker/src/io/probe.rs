//! A request of the worker's own, which its polls lease and settle like every other.
//!
//! It takes no slot and no handler: a worker that is full, or whose handlers block their threads,
//! still consumes. At most one is under way, and at most one a second is begun, however often
//! somebody asks.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::keys::QueueKeys;
use redcall_store::{Link, Outcome, Settled, Settlement, StoreError, WorkerKeys};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::WITHIN;
use super::heartbeat::Told;
use super::poll::{Ended, Part, Reply};
use crate::admin::Report;

/// For how long what came out of a probe holds.
const HOLDS: Duration = Duration::from_secs(1);
/// The longest that somebody who asks waits for a probe.
const LONGEST: Duration = Duration::from_secs(1);

/// What comes next of the probe under way.
enum Step {
    /// It is being put where the poll takes it from.
    Put,
    /// The next poll leases it.
    Lease,
    /// The next poll settles it.
    Settle,
    /// A poll is out with it.
    Out,
    /// The worker has to say first that it lives; then it is leased.
    Beat,
}

/// See the module. Read and written by the dispatcher alone.
pub(crate) struct Probe {
    keys: Arc<WorkerKeys>,
    /// Number of the last one.
    serial: u64,
    began: Instant,
    step: Option<Step>,
    /// When the last one ended, and how.
    last: Option<(Instant, Result<Duration, String>)>,
    /// Who waits for the one under way.
    pub(crate) asked: Vec<oneshot::Sender<Report>>,
    within: Duration,
}

impl Probe {
    /// The probes of `worker`, in the slot of `queue`, which is one of its own.
    pub(crate) fn new(queue: &QueueKeys, worker: &str, lease: Duration) -> Self {
        Self {
            keys: Arc::new(WorkerKeys::probe(queue, worker)),
            serial: 0,
            began: Instant::now(),
            step: None,
            last: None,
            asked: Vec::new(),
            within: lease.min(LONGEST),
        }
    }

    /// Begins one, unless one is under way or the last one still holds.
    pub(crate) fn begin(&mut self, link: &Arc<Link>, told: &mpsc::UnboundedSender<Told>) {
        let holds = self.last.as_ref().is_some_and(|(at, _)| at.elapsed() < HOLDS);
        if self.step.is_some() || holds {
            return;
        }
        (self.began, self.step) = (Instant::now(), Some(Step::Put));
        self.serial += 1;
        let envelope = format!(r#"{{"id":"{}","name":"probe","data":null}}"#, self.id());
        let (link, keys, told) = (link.clone(), self.keys.clone(), told.clone());
        // Apart from the poll, which must not fail when Redis refuses this.
        tokio::spawn(async move {
            let put = link.put_probe(&keys, &envelope, WITHIN).await;
            let _ = told.send(Told::ProbePut(put));
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

    /// The worker has said that it lives.
    pub(crate) fn beat(&mut self) {
        if matches!(self.step, Some(Step::Beat)) {
            self.step = Some(Step::Lease);
        }
    }

    /// Whether the next poll leases it, and looks at every queue.
    pub(crate) fn is_to_lease(&self) -> bool {
        matches!(self.step, Some(Step::Lease))
    }

    /// Its part of the next poll.
    pub(crate) fn part(&mut self) -> Option<Part> {
        let outcome = match self.step {
            Some(Step::Lease) => None,
            Some(Step::Settle) => Some(Outcome::new(self.id(), Settlement::Done)),
            None | Some(Step::Put | Step::Out | Step::Beat) => return None,
        };
        self.step = Some(Step::Out);
        Some(Part::of_probe(self.keys.clone(), self.serial, outcome))
    }

    /// Takes its part out of a poll that has ended.
    pub(crate) fn turned(&mut self, ended: &mut Ended) {
        if !matches!(self.step, Some(Step::Out)) {
            return;
        }
        ended.parts.pop();
        match &mut ended.replies {
            Ok(replies) => match replies.pop() {
                Some(Ok(Reply { poll, .. })) if poll.settled == [Settled::Yes] => {
                    self.end(Ok(self.began.elapsed()));
                }
                Some(Ok(Reply { poll, .. })) if !poll.leased.is_empty() => {
                    self.step = Some(Step::Settle);
                }
                Some(Ok(Reply { poll, .. })) if poll.expired => {
                    self.step = Some(Step::Beat);
                }
                Some(Err(error)) => {
                    let problem = error.to_string();
                    self.end(Err(problem));
                }
                _ => self.end(Err("it was neither leased nor settled".to_owned())),
            },
            // The next one takes the place of whatever this one left.
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

    /// What was found before holds no longer: there is another connection.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// Whether those who asked are to be told now.
    pub(crate) fn is_over(&self) -> bool {
        !self.asked.is_empty() && (self.step.is_none() || self.is_late())
    }

    /// Whether those who asked must not wait any longer.
    pub(crate) fn is_late(&self) -> bool {
        self.began.elapsed() >= self.within
    }

    /// When those who asked are told at the latest.
    pub(crate) fn next(&self) -> Option<Instant> {
        (!self.asked.is_empty()).then_some(self.began + self.within)
    }

    /// How long the last one took, or what is wrong.
    pub(crate) fn result(&self) -> Result<Option<Duration>, String> {
        let out = self.began.elapsed();
        if self.step.is_some() && out >= self.within {
            return Err(format!("the probe has not come back for {} ms", out.as_millis()));
        }
        match &self.last {
            Some((_, Ok(took))) => Ok(Some(*took)),
            Some((_, Err(problem))) => Err(format!("the probe failed: {problem}")),
            None => Ok(None),
        }
    }
}
