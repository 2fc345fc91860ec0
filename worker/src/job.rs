//! One run of one request: what it knows, what it pushes, and that it is settled once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use redcall_common::auth::Keyring;
use redcall_common::context::Context;
use redcall_common::frame::{FrameHead, FrameType};
use redcall_common::limits::Limits;
use redcall_common::settings::JobSettings;
use redcall_store::{Kept, Link, Outcome, Pushed, Record, Settled, WorkerKeys};
use serde_json::value::RawValue;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::auth::Pass;
use crate::ending;
use crate::handler::Ending;
use crate::metrics::Metrics;
use crate::request::ProgressError;
use crate::service::{Run, ServiceRules};
use crate::state::States;

/// How many unread frames may lie at a response key before the writer waits, and how many bytes of
/// frames as large as its own. Two in any case: a reader leaves the last one that it has had.
const STREAM_WINDOW: usize = 1000;
const STREAM_BYTES: usize = 8 << 20;
/// How often a writer looks whether its reader has caught up: ever less often.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LOOK_AT_LEAST: Duration = Duration::from_millis(250);
/// For how long it looks before it drops what is only said by the way.
const WAITS: Duration = Duration::from_millis(500);
/// For how long it looks before it says that nobody reads what belongs to the answer.
pub(crate) const WAITS_FOR_READER: Duration = Duration::from_secs(60);
const WITHIN: Duration = Duration::from_secs(5);

/// What a job tells the thread that talks to Redis.
pub(crate) enum Event {
    /// Settle it; sent once per job, by whoever has taken [`Job::settled`].
    Settle { serial: u64, outcome: Box<Outcome>, heard: Option<oneshot::Sender<Settled>> },
    /// Its caller cares until then; `None`: for ever.
    Deadline { serial: u64, deadline: Option<Instant> },
    /// Another worker has it, or it is none of ours: nothing of it is to be settled.
    Lost { serial: u64 },
    /// Nothing of it runs any more: its slot is free.
    Released { serial: u64 },
}

/// What all jobs of one worker share.
pub(crate) struct Shared {
    pub(crate) link: Arc<Link>,
    pub(crate) states: States,
    pub(crate) limits: Limits,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    /// The worker's id.
    pub(crate) worker: String,
    /// How long the end of a call with an idempotency key is kept.
    pub(crate) idempotency_ttl: Duration,
    pub(crate) metrics: Arc<Metrics>,
    /// How much of a topic is kept.
    pub(crate) kept: Kept,
}

/// One run of one request.
pub(crate) struct Job {
    pub(crate) shared: Arc<Shared>,
    pub(crate) request: redcall_common::request::Request,
    /// Number of this run within the worker.
    pub(crate) serial: u64,
    /// The worker's keys on the job's queue.
    pub(crate) keys: Arc<WorkerKeys>,
    pub(crate) rules: Arc<JobSettings>,
    /// Of a service's requests.
    pub(crate) service: Option<ServiceRules>,
    /// Of a signed request, where signatures count.
    pub(crate) pass: Option<Pass>,
    /// The worker's keys, if it has any.
    pub(crate) keyring: Option<Arc<Keyring>>,
    /// What was before this run.
    pub(crate) record: Record,
    /// Redis time, ms.
    pub(crate) started_at: u64,
    pub(crate) started: Instant,
    /// When the caller stops caring. Written when others join the call, read by who asks.
    pub(crate) deadline: std::sync::Mutex<Option<Instant>>,
    /// Fires when the run is not wanted any more.
    pub(crate) cancel: CancellationToken,
    /// Whether the handler has asked for its token: then it may end by itself.
    pub(crate) listens: AtomicBool,
    /// Set by whoever wants to settle it: no further frame goes out before the ending one.
    pub(crate) closing: AtomicBool,
    /// Taken by whoever settles it: handler, `respond` or the timeout. Under the lock of `seq`.
    pub(crate) settled: AtomicBool,
    /// `seq` of the last frame pushed. Held over a push, so that frames go out in order.
    pub(crate) seq: Mutex<u64>,
    /// Of a request to a service: what its task gets. Set before its handler is called.
    pub(crate) run: OnceLock<Run>,
    /// Whether the last frame was dropped because nobody reads: then the next waits no more.
    pub(crate) unread: AtomicBool,
}

impl Drop for Job {
    fn drop(&mut self) {
        // The receiver is gone only when the worker has ended.
        let _ = self.shared.events.send(Event::Released { serial: self.serial });
    }
}

impl Job {
    /// Number of this run, counted from 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.record.attempt + 1
    }

    pub(crate) fn context(&self) -> Context {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        Context { deadline, cancel: self.cancel.clone() }
    }

    /// Takes `deadline` as the caller's from now on, and has the run ended by it.
    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
        let _ = self.shared.events.send(Event::Deadline { serial: self.serial, deadline });
    }

    pub(crate) fn head<'a>(&'a self, response_key: &'a str) -> FrameHead<'a> {
        self.request.head(response_key, self.attempt())
    }

    /// Pushes a frame that does not end the request. A chunk waits for its reader; anything else
    /// is dropped if there is none.
    pub(crate) async fn push(
        &self,
        kind: FrameType,
        data: Option<&RawValue>,
    ) -> Result<(), ProgressError> {
        let Some(reply) = &self.request.reply else { return Ok(()) };
        let mut seq = self.seq.lock().await;
        let frame = self.head(&reply.response_key).data(kind, *seq + 1, data);
        let window = STREAM_WINDOW.min(STREAM_BYTES / frame.len()).max(2);
        let (since, mut pause) = (Instant::now(), LOOK_AGAIN);
        let most = match kind {
            FrameType::Chunk => WAITS_FOR_READER,
            _ if self.unread.load(Ordering::Relaxed) => Duration::ZERO,
            _ => WAITS,
        };
        loop {
            if self.closing.load(Ordering::Acquire) {
                return Err(ProgressError::NotMine);
            }
            let (link, id, leases) = (&self.shared.link, &self.request.id, &self.keys.leases);
            let pushing = link.push_frame(leases, id, reply, &frame, window, WITHIN);
            match pushing.await {
                Ok(Pushed::Yes) => break,
                Ok(Pushed::LeaseLost) => return Err(ProgressError::NotMine),
                Ok(Pushed::Full) if since.elapsed() >= most => {
                    self.unread.store(true, Ordering::Relaxed);
                    return match kind {
                        FrameType::Chunk => Err(ProgressError::Unread),
                        _ => Ok(()),
                    };
                }
                // The script knows a frame that it has pushed already: sending it again is safe,
                // and going on without knowing could give two frames the same number.
                Err(error) if !error.is_transient() || since.elapsed() >= most => {
                    return Err(error.into());
                }
                Ok(Pushed::Full) | Err(_) => {
                    sleep(pause).await;
                    pause = (2 * pause).min(LOOK_AT_LEAST);
                }
            }
        }
        self.unread.store(false, Ordering::Relaxed);
        *seq += 1;
        Ok(())
    }

    /// Settles the job by what its handler ended with. `false` if it is settled already.
    pub(crate) async fn settle(
        &self,
        ending: Ending,
        heard: Option<oneshot::Sender<Settled>>,
    ) -> bool {
        self.settle_as(|seq| ending::outcome(self, ending, seq), heard).await
    }

    /// Settles the job as `outcome` says, which gets the `seq` of the ending frame.
    pub(crate) async fn settle_as(
        &self,
        outcome: impl FnOnce(u64) -> Outcome,
        heard: Option<oneshot::Sender<Settled>>,
    ) -> bool {
        self.closing.store(true, Ordering::Release);
        // Waits for a frame on its way, so that the ending one comes behind it.
        let seq = self.seq.lock().await;
        // No await from here on: a handler that is ended here has settled or has not.
        if self.settled.swap(true, Ordering::AcqRel) {
            return false;
        }
        let outcome = Box::new(self.spent(outcome(*seq + 1)));
        let event = Event::Settle { serial: self.serial, outcome, heard };
        self.shared.events.send(event).is_ok()
    }

    /// Settles a job that was taken before.
    pub(crate) async fn settle_taken(&self, ending: Ending) {
        let seq = self.seq.lock().await;
        let outcome = Box::new(self.spent(ending::outcome(self, ending, *seq + 1)));
        let _ =
            self.shared.events.send(Event::Settle { serial: self.serial, outcome, heard: None });
    }

    /// Returns `true` if its handler has settled it itself, and is still wanted.
    pub(crate) fn has_answered(&self) -> bool {
        self.settled.load(Ordering::Acquire) && !self.cancel.is_cancelled()
    }

    /// The outcome of a signed request that this run has started: if it is the end, the request
    /// runs no more.
    pub(crate) fn spent(&self, outcome: Outcome) -> Outcome {
        Outcome { spent: self.pass.as_ref().and_then(Pass::spent), ..outcome }
    }

    /// Takes the job out of its handler's hands: whatever that ends with, it settles nothing any
    /// more. `false` if it is settled already.
    pub(crate) fn take(&self) -> bool {
        self.closing.store(true, Ordering::Release);
        !self.settled.swap(true, Ordering::AcqRel)
    }
}
