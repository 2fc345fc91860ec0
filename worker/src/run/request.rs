//! The handler's view of a job.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redcall_common::context::Context;
use redcall_common::depth::data_fits;
use redcall_common::frame::FrameType;
use redcall_store::Settled;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::oneshot;

use crate::run::job::Job;
use crate::run::progress_error::ProgressError;

/// A job, as its handler gets it. Cheap to clone. The job keeps its capacity while a clone lives.
///
/// ```
/// use redcall_worker::{Json, Request};
/// use serde_json::{Value, json};
///
/// async fn describe(request: Request) -> Json<Value> {
///     Json(json!({
///         "name": request.name(),
///         "attempt": request.attempt(),
///         "tenant": request.headers().get("tenant"),
///         "data": request.data(),
///     }))
/// }
/// # use redcall_worker::Worker;
/// # redcall_testkit::example::with_worker(|settings| {
/// # let worker = Worker::from_settings(settings)?.handler("describe", describe);
/// # Ok(worker) }, async |client| {
/// let request = client.request("describe").data(&[1, 2]).header("tenant", "acme");
/// let described = json!({"name": "describe", "attempt": 1, "tenant": "acme", "data": [1, 2]});
/// assert_eq!(request.wait().await?.json::<Value>()?, described);
/// # Ok(()) });
/// ```
#[derive(Clone)]
pub struct Request(Arc<Job>);

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

    /// The data, as the caller wrote it; for a service's task, an object of `state`, `args` and
    /// `instance`.
    #[must_use]
    pub fn data(&self) -> &RawValue {
        self.0.run.get().map_or(&self.0.request.data, |run| &run.data)
    }

    /// The method in a request to a process: the job's name, or the task of a service.
    pub(crate) fn method(&self) -> &str {
        self.0.run.get().map_or(self.name(), |run| run.task.as_str())
    }

    /// The caller's headers.
    #[must_use]
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.0.request.headers
    }

    /// Number of this run, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt()
    }

    /// Time until the caller's deadline; `None` if it has none.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.0.context().remaining()
    }

    /// Completes when this run is no longer needed: the caller has cancelled it, its deadline has
    /// passed, or another worker has the job. The handler's answer is then ignored. Cancel safe.
    ///
    /// A handler that has once called this, or [`Request::is_cancelled`], gets
    /// `worker.cancel_grace` to end in order. Any other handler is dropped at once, at its next
    /// await.
    ///
    /// ```
    /// use redcall_worker::{Request, State};
    /// use tokio::sync::mpsc::UnboundedSender;
    ///
    /// async fn record(request: Request, log: State<UnboundedSender<&'static str>>) {
    ///     let _ = log.send("recording");
    ///     request.cancelled().await;
    ///     let _ = log.send("stopped in order"); // within `worker.cancel_grace`
    /// }
    /// # use redcall_worker::Worker;
    /// # let (sender, mut log) = tokio::sync::mpsc::unbounded_channel();
    /// # redcall_testkit::example::with_worker(|settings| {
    /// # let worker = Worker::from_settings(settings)?.state(sender).handler("record", record);
    /// # Ok(worker) }, async |client| {
    /// let ticket = client.request("record").submit().await?;
    /// assert_eq!(log.recv().await, Some("recording"));
    /// ticket.cancel().await?;
    /// assert_eq!(log.recv().await, Some("stopped in order"));
    /// # Ok(()) });
    /// ```
    pub async fn cancelled(&self) {
        self.0.uses_token.store(true, Ordering::Release);
        self.0.cancel.cancelled().await;
    }

    /// Returns `true` if [`Request::cancelled`] would complete at once: for handlers that block.
    ///
    /// ```
    /// use redcall_worker::{Json, Request, Worker};
    ///
    /// fn sum_up_to(Json(end): Json<u64>, request: Request) -> Json<u64> {
    ///     let numbers = (1..=end).take_while(|_| !request.is_cancelled());
    ///     Json(numbers.sum())
    /// }
    ///
    /// # redcall_testkit::example::with_worker(|settings| {
    /// let worker = Worker::from_settings(settings)?.blocking_handler("sum_up_to", sum_up_to);
    /// # Ok(worker) }, async |client| {
    /// assert_eq!(client.call_and_wait("sum_up_to", &4).await?.json::<u64>()?, 10);
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.uses_token.store(true, Ordering::Release);
        self.0.cancel.is_cancelled()
    }

    pub(crate) fn context(&self) -> Context {
        self.0.context()
    }

    pub(crate) fn job(&self) -> &Job {
        &self.0
    }

    /// Answers the request, which settles it. Returns `true` if the answer took effect, `false` if
    /// the job was settled before (the first settlement wins) or another worker has it. The value
    /// that the handler returns later is ignored.
    ///
    /// Dropping the future leaves open whether the request is answered.
    ///
    /// ```
    /// use redcall_worker::{HandlerError, Request};
    ///
    /// async fn accept(request: Request) -> Result<(), HandlerError> {
    ///     request.respond("accepted").await?; // the caller has its answer
    ///     // Work that the caller does not wait for.
    ///     Ok(())
    /// }
    /// # use redcall_worker::Worker;
    /// # redcall_testkit::example::with_worker(|settings| {
    /// # let worker = Worker::from_settings(settings)?.handler("accept", accept);
    /// # Ok(worker) }, async |client| {
    /// assert_eq!(client.call_and_wait("accept", &()).await?.json::<String>()?, "accepted");
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// If `data` cannot be serialised as JSON; the job is then not settled.
    pub async fn respond<T: Serialize + ?Sized>(
        &self,
        data: &T,
    ) -> Result<bool, serde_json::Error> {
        let data = to_raw_value(data)?;
        let (notify, settled) = oneshot::channel();
        if !self.0.settle(Ok(data), Some(notify)).await {
            return Ok(false);
        }
        Ok(settled.await.is_ok_and(|settled| settled == Settled::Yes))
    }

    /// Reports progress to a caller that reads the stream. Does nothing if the caller wants no
    /// answer.
    ///
    /// While 1,000 frames are unread, waits up to half a second for the reader, then drops the
    /// frame: a caller that only waits for the answer reads none. Dropping the future may leave the
    /// frame pushed.
    ///
    /// ```
    /// use redcall_worker::{HandlerError, Json, Request};
    /// use serde_json::json;
    ///
    /// async fn resize(images: Json<Vec<String>>, request: Request) -> Result<(), HandlerError> {
    ///     for (index, image) in images.0.iter().enumerate() {
    ///         request.progress(&json!({"image": image, "index": index})).await?;
    ///     }
    ///     Ok(())
    /// }
    /// # use redcall_worker::Worker;
    /// # redcall_testkit::example::with_worker(|settings| {
    /// # let worker = Worker::from_settings(settings)?.handler("resize", resize);
    /// # Ok(worker) }, async |client| {
    /// # use redcall_testkit::example::redcall_client::Update;
    /// let mut stream = client.request("resize").data(&["a.png"]).stream().await?;
    /// let Some(Ok(Update::Progress(data))) = stream.next().await else { panic!() };
    /// assert_eq!(data.get(), r#"{"image":"a.png","index":0}"#);
    /// # while stream.next().await.is_some() {}
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// [`ProgressError`]; the job continues in any case.
    pub async fn progress<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), ProgressError> {
        self.push(FrameType::Progress, data).await
    }

    /// Sends a part of the answer to a caller that reads the stream. Does nothing if the caller
    /// wants no answer.
    ///
    /// No part is dropped: while 1,000 frames, or 8 MiB of frames of this size, are unread, waits
    /// for the reader, up to a minute. A caller that only waits for the answer reads none. Await
    /// the future to its end: dropping it may leave the frame pushed, and the reader then ignores
    /// the next part as a repetition.
    ///
    /// ```
    /// use redcall_worker::{HandlerError, Json, Request};
    ///
    /// async fn count(Json(end): Json<u64>, request: Request) -> Result<(), HandlerError> {
    ///     for number in 1..=end {
    ///         request.chunk(&number).await?; // waits while too many parts are unread
    ///     }
    ///     Ok(())
    /// }
    /// # use redcall_worker::Worker;
    /// # redcall_testkit::example::with_worker(|settings| {
    /// # let worker = Worker::from_settings(settings)?.handler("count", count);
    /// # Ok(worker) }, async |client| {
    /// # use redcall_testkit::example::redcall_client::Update;
    /// let mut stream = client.request("count").data(&3).stream().await?;
    /// let mut parts = Vec::new();
    /// while let Some(update) = stream.next().await {
    ///     if let Update::Chunk(part) = update? {
    ///         parts.push(part.to_string());
    ///     }
    /// }
    /// assert_eq!(parts, ["1", "2", "3"]);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// [`ProgressError`]; after [`ProgressError::NoReader`], [`ProgressError::TooLarge`] and
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
