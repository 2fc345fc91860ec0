//! A job as its handler sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redcall_common::context::Context;
use redcall_common::error::{Code, WireError};
use redcall_common::frame::{FrameHead, FrameType};
use redcall_common::limits::Limits;
use redcall_common::store::{Link, Pushed, Settled, Settlement};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::sleep;

use crate::handler::{Ending, HandlerError};
use crate::state::States;

/// How many unread frames may lie at a response key before the writer waits.
const STREAM_WINDOW: usize = 1000;
/// How often, and how many times, a writer looks whether its reader has caught up.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LOOKS: u32 = 25;
/// Longest message of a handler's error, bytes.
const MAX_MESSAGE: usize = 16 << 10;
const WITHIN: Duration = Duration::from_secs(5);

/// A job as its handler sees it. Cheap to clone; while a clone lives, the job keeps its slot.
#[derive(Clone)]
pub struct Request(Arc<Job>);

/// What a job tells the thread that talks to Redis.
pub(crate) enum Event {
    /// Settle it; sent once per job, by whoever has taken [`Job::settled`].
    Settle { serial: u64, settlement: Settlement, heard: Option<oneshot::Sender<Settled>> },
    /// Nothing of it runs any more: its slot is free.
    Released { serial: u64 },
}

/// What all jobs of one worker share.
pub(crate) struct Shared {
    pub(crate) link: Arc<Link>,
    pub(crate) states: States,
    pub(crate) limits: Limits,
    pub(crate) events: mpsc::UnboundedSender<Event>,
}

/// One run of one request.
pub(crate) struct Job {
    pub(crate) shared: Arc<Shared>,
    pub(crate) request: redcall_common::request::Request,
    /// Number of this run within the worker.
    pub(crate) serial: u64,
    /// Hash of the worker's leases on the job's queue.
    pub(crate) leases: String,
    pub(crate) attempt: u32,
    /// The caller's deadline, and the token that says that the run is not wanted any more.
    pub(crate) context: Context,
    /// Whether the handler has asked for its token: then it may end by itself.
    pub(crate) listens: AtomicBool,
    /// Set by whoever wants to settle it: no further frame goes out before the ending one.
    pub(crate) closing: AtomicBool,
    /// Taken by whoever settles it: handler, `respond` or the timeout. Under the lock of `seq`.
    pub(crate) settled: AtomicBool,
    /// `seq` of the last frame pushed. Held over a push, so that frames go out in order.
    pub(crate) seq: Mutex<u64>,
    /// Whether the last frame was dropped because nobody reads: then the next waits no more.
    pub(crate) unread: AtomicBool,
}

impl Drop for Job {
    fn drop(&mut self) {
        // The receiver is gone only when the worker has ended.
        let _ = self.shared.events.send(Event::Released { serial: self.serial });
    }
}

/// Why a progress frame was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ProgressError {
    /// The job is settled, or another worker has it: nobody listens to this run any more.
    #[error("the job is no longer this handler's to report on")]
    NotMine,
    /// Larger than `limits.frame`.
    #[error("the frame has {size} bytes, the limit is {limit} (limits.frame)")]
    TooLarge {
        /// Bytes of the data.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// It cannot be written as JSON.
    #[error("the progress cannot be written as JSON")]
    Encode(#[from] serde_json::Error),
    /// Redis cannot be reached.
    #[error("Redis did not take the frame")]
    Store(#[from] redcall_common::store::StoreError),
}

impl Request {
    pub(crate) fn new(job: Arc<Job>) -> Self {
        Self(job)
    }

    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.request.id
    }

    /// The job's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.request.name
    }

    /// The data, as the caller wrote it.
    #[must_use]
    pub fn data(&self) -> &RawValue {
        &self.0.request.data
    }

    /// The caller's headers.
    #[must_use]
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.0.request.headers
    }

    /// Which run of this job it is, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// How long the caller still cares; `None` if it set no limit.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.0.context.remaining()
    }

    /// Ends when this run is not wanted any more: its caller has cancelled it or its time is over,
    /// or another worker has the job. Its answer is then not used. Cancel safe.
    ///
    /// A handler that has once asked for this, or for [`Request::is_cancelled`], may then go on
    /// for `worker.cancel_grace`, to end in order; any other is dropped at once, wherever it
    /// awaits.
    pub async fn cancelled(&self) {
        self.0.listens.store(true, Ordering::Release);
        self.0.context.cancel.cancelled().await;
    }

    /// Whether [`Request::cancelled`] would end at once: for handlers that block.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.listens.store(true, Ordering::Release);
        self.0.context.cancel.is_cancelled()
    }

    pub(crate) fn context(&self) -> Context {
        self.0.context.clone()
    }

    /// Answers the request: this settles it. `true` if the answer took effect, `false` if the
    /// job was settled before (the first settlement wins) or another worker has it by now.
    /// What the handler returns afterwards is not used.
    ///
    /// Dropping the future leaves open whether the answer is given.
    ///
    /// # Errors
    ///
    /// When `data` cannot be written as JSON; the job is then not settled.
    pub async fn respond<T: Serialize + ?Sized>(
        &self,
        data: &T,
    ) -> Result<bool, serde_json::Error> {
        let data = to_raw_value(data)?;
        let (heard, settled) = oneshot::channel();
        if !self.0.settle(Ok(data), Some(heard)).await {
            return Ok(false);
        }
        Ok(settled.await.is_ok_and(|settled| settled == Settled::Yes))
    }

    /// Tells a caller who follows how far the job is. Does nothing if nobody asked for answers.
    ///
    /// While 1,000 frames lie unread, it waits a little for the reader, then drops the frame: a
    /// caller who only waits for the answer never reads any. Dropping the future may leave the
    /// frame pushed.
    ///
    /// # Errors
    ///
    /// [`ProgressError`]; the job goes on in any case.
    pub async fn progress<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), ProgressError> {
        let data = to_raw_value(data)?;
        let (size, limit) = (data.get().len(), self.0.shared.limits.frame);
        if size > limit {
            return Err(ProgressError::TooLarge { size, limit });
        }
        self.0.push(FrameType::Progress, &data).await
    }

    pub(crate) fn state<S: Send + Sync + 'static>(&self) -> Option<Arc<S>> {
        self.0.shared.states.get()
    }

    /// Settles the job with what its handler ended with, unless it is settled already.
    pub(crate) async fn conclude(&self, ending: Ending) {
        self.0.settle(ending, None).await;
    }
}

impl Job {
    async fn push(&self, kind: FrameType, data: &RawValue) -> Result<(), ProgressError> {
        let Some(reply) = &self.request.reply else { return Ok(()) };
        let mut seq = self.seq.lock().await;
        let frame = self.head(&reply.response_key).data(kind, *seq + 1, Some(data));
        let mut patience = if self.unread.load(Ordering::Relaxed) { 0 } else { LOOKS };
        loop {
            if self.closing.load(Ordering::Acquire) {
                return Err(ProgressError::NotMine);
            }
            let (link, id) = (&self.shared.link, &self.request.id);
            let pushing = link.push_frame(&self.leases, id, reply, &frame, STREAM_WINDOW, WITHIN);
            match pushing.await {
                Ok(Pushed::Yes) => break,
                Ok(Pushed::LeaseLost) => return Err(ProgressError::NotMine),
                Ok(Pushed::Full) if patience == 0 => {
                    self.unread.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                // The script knows a frame that it has pushed already: sending it again is safe,
                // and going on without knowing could give two frames the same number.
                Err(error) if !error.is_transient() || patience == 0 => return Err(error.into()),
                Ok(Pushed::Full) | Err(_) => {
                    patience -= 1;
                    sleep(LOOK_AGAIN).await;
                }
            }
        }
        self.unread.store(false, Ordering::Relaxed);
        *seq += 1;
        Ok(())
    }

    fn head<'a>(&'a self, response_key: &'a str) -> FrameHead<'a> {
        FrameHead { id: &self.request.id, response_key, attempt: self.attempt }
    }

    /// `false` if the job is settled already.
    async fn settle(&self, ending: Ending, heard: Option<oneshot::Sender<Settled>>) -> bool {
        self.closing.store(true, Ordering::Release);
        // Waits for a frame on its way, so that the ending one comes behind it.
        let seq = self.seq.lock().await;
        // No await from here on: a handler that is ended here has settled or has not.
        if self.settled.swap(true, Ordering::AcqRel) {
            return false;
        }
        let settlement = self.settlement(ending, *seq + 1);
        let event = Event::Settle { serial: self.serial, settlement, heard };
        self.shared.events.send(event).is_ok()
    }

    /// All outcomes of a job: answered, refused for size, failed; with and without a listener.
    fn settlement(&self, ending: Ending, seq: u64) -> Settlement {
        let limit = self.shared.limits.answer;
        let ending = match ending {
            Ok(data) if data.get().len() > limit => {
                let size = data.get().len();
                let message = format!("the answer has {size} bytes, the limit is {limit}");
                Err(HandlerError::with_code(Code::TooLarge, message))
            }
            other => other,
        };
        match (ending, self.request.reply.clone()) {
            (Ok(_), None) => Settlement::Done,
            (Ok(data), Some(reply)) => {
                let head = self.head(&reply.response_key);
                let frame = head.data(FrameType::Result, seq, Some(&data));
                Settlement::Answer { reply, frame }
            }
            (Err(HandlerError(error)), reply) => self.failure(error, reply, seq),
        }
    }

    fn failure(
        &self,
        mut error: WireError,
        reply: Option<redcall_common::request::ReplyTo>,
        seq: u64,
    ) -> Settlement {
        error.attempt = Some(self.attempt);
        error.message.truncate(error.message.floor_char_boundary(MAX_MESSAGE));
        error.data = error.data.filter(|data| data.get().len() <= self.shared.limits.frame);
        match reply {
            Some(reply) => {
                let frame = self.head(&reply.response_key).error(seq, &error);
                Settlement::Answer { reply, frame }
            }
            // Nobody waits: the dead letters are where people look.
            None => Settlement::Bury { code: error.code, reason: error.message, answer: None },
        }
    }
}
