//! One run of one request: its state, its frames, its single settlement.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use redcall_common::auth::Keyring;
use redcall_common::backoff::Backoff;
use redcall_common::context::Context;
use redcall_common::frame::FrameType;
use redcall_common::frame_head::FrameHead;
use redcall_common::limits::Limits;
use redcall_common::settings::JobSettings;
use redcall_store::{
    Connection, Outcome, Pushed, Record, RunOps as _, Settled, TopicRetention, WorkerKeys,
};
use serde_json::value::RawValue;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::handler::compiled::state::StateMap;
use crate::run::auth::Verified;
use crate::run::progress_error::ProgressError;
use crate::run::service::{ServiceRules, TaskRun};
use crate::run::young::{Receiver, Young};

/// Most unread frames at a response key before the writer blocks; the second limit is in bytes, for
/// frames of the present size. At least two: a reader leaves the last frame that it has read.
const STREAM_WINDOW: usize = 1000;
const STREAM_BYTES: usize = 8 << 20;
/// Pauses between checks of the reader's progress.
const READER_CHECKS: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(250));
/// How long a writer waits for the reader before it drops a frame that is not part of the answer.
const READER_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a writer waits for the reader before it fails a frame that is part of the answer.
pub(crate) const CHUNK_TIMEOUT: Duration = Duration::from_secs(60);
/// The timeout of pushing one frame.
const FRAME_TIMEOUT: Duration = Duration::from_secs(5);

/// A message from a job to the dispatcher.
pub(crate) enum Event {
    /// Settles the job. Sent once per job, by the holder of [`Job::settled`].
    Settle { serial: u64, outcome: Box<Outcome>, notify: Option<oneshot::Sender<Settled>> },
    /// Sets the caller's deadline; `None`: no deadline.
    Deadline { serial: u64, deadline: Option<Instant> },
    /// Another worker has the job, or its lease is unknown here: it must not be settled.
    Lost { serial: u64 },
    /// The run is over: its capacity is free.
    Released { serial: u64 },
    /// A run in a lane is over, which used the last capacity.
    CapacityFreed,
}

/// State that all jobs of one worker share.
pub(crate) struct Shared {
    pub(crate) link: Arc<Connection>,
    pub(crate) states: StateMap,
    pub(crate) limits: Limits,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    /// The worker's id.
    pub(crate) worker: String,
    /// How long the result of a call with an idempotency key is kept.
    pub(crate) idempotency_ttl: Duration,
    /// Bounds of a topic.
    pub(crate) kept: TopicRetention,
}

/// One run of one request.
pub(crate) struct Job {
    pub(crate) shared: Arc<Shared>,
    pub(crate) request: redcall_common::request::DecodedRequest,
    /// Number of this run within the worker.
    pub(crate) serial: u64,
    /// The worker's keys on the job's queue.
    pub(crate) keys: Arc<WorkerKeys>,
    pub(crate) rules: Arc<JobSettings>,
    /// Set for requests to a service.
    pub(crate) service: Option<ServiceRules>,
    /// Set for a signed request, if the worker verifies signatures.
    pub(crate) verified: Option<Verified>,
    /// The worker's signing keys, if it has any.
    pub(crate) keyring: Option<Arc<Keyring>>,
    /// The record of earlier runs.
    pub(crate) record: Record,
    /// Redis time, ms.
    pub(crate) started_at: u64,
    pub(crate) started: Instant,
    /// The caller's deadline. Written when other callers join the call, read by [`Job::context`].
    pub(crate) deadline: std::sync::Mutex<Option<Instant>>,
    /// Fires when the run is cancelled, late or lost.
    pub(crate) cancel: CancellationToken,
    /// `true` once the handler has requested its cancellation token: then it gets time to end in
    /// order.
    pub(crate) uses_token: AtomicBool,
    /// Set before the job is settled: no other frame is pushed before the final one.
    pub(crate) closing: AtomicBool,
    /// Set once by the winner of handler, `respond` and timeout. Written under the lock of `seq`.
    pub(crate) settled: AtomicBool,
    /// `seq` of the last frame pushed. Locked during a push, to keep frames in order.
    pub(crate) seq: Mutex<u64>,
    /// Set for requests to a service, before the handler is called: the input of its task.
    pub(crate) run: OnceLock<TaskRun>,
    /// `true` if the last frame was dropped for lack of a reader: the next one does not wait.
    pub(crate) unread: AtomicBool,
    /// Set for a job that started in a lane.
    pub(crate) young: Option<Arc<Young>>,
}

impl Drop for Job {
    fn drop(&mut self) {
        let event = match self.young.as_ref().map(|young| young.released()) {
            Some(Receiver::Lane(false)) => return,
            Some(Receiver::Lane(true)) => Event::CapacityFreed,
            Some(Receiver::Dispatcher) | None => Event::Released { serial: self.serial },
        };
        // The send fails only when the worker has ended.
        let _ = self.shared.events.send(event);
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

    /// Sets the caller's deadline, and ends the run by it.
    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
        let _ = self.shared.events.send(Event::Deadline { serial: self.serial, deadline });
    }

    pub(crate) fn head<'a>(&'a self, response_key: &'a str) -> FrameHead<'a> {
        self.request.head(response_key, self.attempt())
    }

    /// Pushes a frame that does not end the request. A chunk waits for its reader; any other frame
    /// is dropped if there is none.
    pub(crate) async fn push(
        &self,
        kind: FrameType,
        data: Option<&RawValue>,
    ) -> Result<(), ProgressError> {
        let Some(reply) = &self.request.reply else { return Ok(()) };
        self.lease().await;
        let mut seq = self.seq.lock().await;
        let frame = self.head(&reply.response_key).data(kind, *seq + 1, data);
        let window = STREAM_WINDOW.min(STREAM_BYTES / frame.len()).max(2);
        let (since, mut pause) = (Instant::now(), READER_CHECKS.first());
        let timeout = match kind {
            FrameType::Chunk => CHUNK_TIMEOUT,
            _ if self.unread.load(Ordering::Relaxed) => Duration::ZERO,
            _ => READER_TIMEOUT,
        };
        loop {
            if self.closing.load(Ordering::Acquire) {
                return Err(ProgressError::NotOwned);
            }
            let (link, id, leases) = (&self.shared.link, &self.request.id, &self.keys.leases);
            let pushing = link.push_frame(leases, id, reply, &frame, window, FRAME_TIMEOUT);
            match pushing.await {
                Ok(Pushed::Yes) => break,
                Ok(Pushed::LeaseLost) => return Err(ProgressError::NotOwned),
                Ok(Pushed::Full) if since.elapsed() >= timeout => {
                    self.unread.store(true, Ordering::Relaxed);
                    return match kind {
                        FrameType::Chunk => Err(ProgressError::NoReader),
                        _ => Ok(()),
                    };
                }
                // The script ignores a frame that it has pushed already, so sending it again is
                // safe. Continuing without knowing could give two frames the same number.
                Err(error) if !error.is_transient() || since.elapsed() >= timeout => {
                    return Err(error.into());
                }
                Ok(Pushed::Full) | Err(_) => {
                    sleep(pause).await;
                    pause = READER_CHECKS.following(pause);
                }
            }
        }
        self.unread.store(false, Ordering::Relaxed);
        *seq += 1;
        Ok(())
    }

    /// Settles the job with the outcome that `outcome` makes for the `seq` of the final frame.
    pub(crate) async fn settle_as(
        &self,
        outcome: impl FnOnce(u64) -> Outcome,
        notify: Option<oneshot::Sender<Settled>>,
    ) -> bool {
        if notify.is_some() {
            self.lease().await;
        }
        self.closing.store(true, Ordering::Release);
        // Waits for a frame in flight, so that the final one follows it.
        let seq = self.seq.lock().await;
        // No await from here on: a handler that is dropped has either settled or not.
        if self.settled.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.send(self.spent(outcome(*seq + 1)), notify)
    }

    /// Sends the outcome to the lane or the dispatcher, which settles it.
    pub(crate) fn send(&self, outcome: Outcome, notify: Option<oneshot::Sender<Settled>>) -> bool {
        let mut outcome = Box::new(outcome);
        if let Some(young) = &self.young {
            match young.settle(outcome) {
                Some(back) => outcome = back,
                None => return true,
            }
        }
        let event = Event::Settle { serial: self.serial, outcome, notify };
        self.shared.events.send(event).is_ok()
    }

    /// Waits until the request has a real lease: a job in a lane has none yet. Cancel safe.
    async fn lease(&self) {
        if let Some(young) = &self.young {
            young.lease().await;
        }
    }

    /// Returns `true` if the handler has settled the job itself and the run is not cancelled.
    pub(crate) fn has_answered(&self) -> bool {
        self.settled.load(Ordering::Acquire) && !self.cancel.is_cancelled()
    }

    /// Adds to `outcome`, for a signed request that this run has started, that the request must not
    /// run again if this ends it.
    pub(crate) fn spent(&self, outcome: Outcome) -> Outcome {
        Outcome { spent: self.verified.as_ref().and_then(Verified::spent), ..outcome }
    }

    /// Takes the job from its handler: the handler's result is ignored from now on. Returns `false`
    /// if the job is settled already.
    pub(crate) fn take(&self) -> bool {
        self.closing.store(true, Ordering::Release);
        !self.settled.swap(true, Ordering::AcqRel)
    }
}
