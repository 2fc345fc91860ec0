//! A job as its handler sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redcall_common::context::Context;
use redcall_common::decode::data_fits;
use redcall_common::frame::FrameType;
use redcall_store::Settled;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::oneshot;

use crate::job::Job;

/// A job as its handler sees it. Cheap to clone; while a clone lives, the job keeps its slot.
#[derive(Clone)]
pub struct Request(Arc<Job>);

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
    /// It nests too deep for a frame.
    #[error("the frame would nest deeper than {limit} levels (limits.depth)")]
    TooDeep {
        /// The limit, levels.
        limit: usize,
    },
    /// It cannot be written as JSON.
    #[error("the progress cannot be written as JSON")]
    Encode(#[from] serde_json::Error),
    /// A caller who follows has read nothing for a minute, or there is none.
    #[error("nobody reads the answer's parts")]
    Unread,
    /// Redis cannot be reached.
    #[error("Redis did not take the frame")]
    Store(#[from] redcall_store::StoreError),
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

    /// The data, as the caller wrote it; for a task of a service an object of `state`, `args` and
    /// `instance`.
    #[must_use]
    pub fn data(&self) -> &RawValue {
        self.0.run.get().map_or(&self.0.request.data, |run| &run.data)
    }

    /// What a process is asked for: the job's name, or the task of a service.
    pub(crate) fn method(&self) -> &str {
        self.0.run.get().map_or(self.name(), |run| run.task.as_str())
    }

    /// The caller's headers.
    #[must_use]
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.0.request.headers
    }

    /// Which run of this job it is, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt()
    }

    /// How long the caller still cares; `None` if it set no limit.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.0.context().remaining()
    }

    /// Ends when this run is not wanted any more: its caller has cancelled it or its time is over,
    /// or another worker has the job. Its answer is then not used. Cancel safe.
    ///
    /// A handler that has once asked for this, or for [`Request::is_cancelled`], may then go on
    /// for `worker.cancel_grace`, to end in order; any other is dropped at once, wherever it
    /// awaits.
    pub async fn cancelled(&self) {
        self.0.listens.store(true, Ordering::Release);
        self.0.cancel.cancelled().await;
    }

    /// Whether [`Request::cancelled`] would end at once: for handlers that block.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.listens.store(true, Ordering::Release);
        self.0.cancel.is_cancelled()
    }

    pub(crate) fn context(&self) -> Context {
        self.0.context()
    }

    pub(crate) fn job(&self) -> &Job {
        &self.0
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
        self.push(FrameType::Progress, data).await
    }

    /// Sends a part of the answer to a caller who follows. Does nothing if nobody asked for any.
    ///
    /// None is dropped: while 1,000 frames, or 8 MiB of frames as large as this one, lie unread, it
    /// waits for the reader, for a minute at most. A caller who only waits for the answer reads
    /// none. Dropping the future may leave the frame pushed, and then the reader takes the next one
    /// for a repetition: let it end.
    ///
    /// # Errors
    ///
    /// [`ProgressError`]; after [`ProgressError::Unread`], [`ProgressError::TooLarge`] and
    /// [`ProgressError::TooDeep`] the part was not sent.
    pub async fn chunk<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), ProgressError> {
        self.push(FrameType::Chunk, data).await
    }

    async fn push<T: Serialize + ?Sized>(
        &self,
        kind: FrameType,
        data: &T,
    ) -> Result<(), ProgressError> {
        let data = to_raw_value(data)?;
        let (size, limit) = (data.get().len(), self.0.shared.limits.frame);
        if size > limit {
            return Err(ProgressError::TooLarge { size, limit });
        }
        let limit = self.0.shared.limits.depth;
        if !data_fits(data.get().as_bytes(), limit) {
            return Err(ProgressError::TooDeep { limit });
        }
        self.0.push(kind, Some(&data)).await
    }

    pub(crate) fn state<S: Send + Sync + 'static>(&self) -> Option<Arc<S>> {
        self.0.shared.states.get()
    }
}
