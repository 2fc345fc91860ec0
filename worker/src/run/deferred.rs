//! Deferred answers: the handler returns without an answer, and the holder of the completion token
//! settles the request later.

use std::time::Duration;

use redcall_common::depth::data_fits;
use redcall_common::limits::MAX_DEFERRAL;
use redcall_common::token::CompletionToken;
use redcall_store::Settled;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::oneshot;

use crate::run::job::Job;
use crate::run::outcome;
use crate::run::request::Request;

/// The reason why an answer could not be deferred. The handler can still answer, except after
/// [`DeferError::NotOwned`].
#[derive(Debug, thiserror::Error)]
pub enum DeferError {
    /// The job is settled, or another worker has it: the results of this run are ignored.
    #[error("this run cannot answer the job: it is settled, or another worker has it")]
    NotOwned,
    /// The request is for a service: the next request needs the state that this one leaves.
    #[error("a request to a service cannot defer its answer: the next one needs its state")]
    OfService,
    /// More than 7 days from now.
    #[error("an answer can be deferred for 7 days at most")]
    TooLong,
    /// Larger than `limits.frame`.
    #[error("the frame has {size} bytes, the limit is {limit} (limits.frame)")]
    TooLarge {
        /// Bytes of the data.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The data nest too deep for a frame.
    #[error("the frame would nest deeper than {limit} levels (limits.depth)")]
    TooDeep {
        /// The limit, levels.
        limit: usize,
    },
    /// The data cannot be serialised as JSON.
    #[error("the data cannot be serialised as JSON")]
    Encode(#[from] serde_json::Error),
}

impl Request {
    /// Defers the answer and returns a completion token. The caller gets a `deferred` frame with
    /// `data` at once, and the answer when any process settles the call with the token. If that
    /// does not happen within `timeout`, the caller gets `deadline_exceeded`. `None` means the
    /// caller's remaining time, 7 days at most; the caller's deadline always applies.
    ///
    /// Deferring settles the job for this worker: it keeps no lease, does not rerun the job if the
    /// worker dies now, and ignores the value that the handler returns later. The job keeps its
    /// capacity until the handler has returned.
    ///
    /// ```
    /// use redcall_worker::{CompletionToken, HandlerError, Request, State};
    /// use tokio::sync::mpsc::UnboundedSender;
    ///
    /// async fn start(
    ///     request: Request,
    ///     device: State<UnboundedSender<CompletionToken>>,
    /// ) -> Result<(), HandlerError> {
    ///     let token = request.defer("on its way", None).await?;
    ///     device.send(token)?; // for another process: `token.reveal()`
    ///     Ok(())
    /// }
    /// # use redcall_worker::Worker;
    /// # let (sender, mut tokens) = tokio::sync::mpsc::unbounded_channel();
    /// # redcall_testkit::example::with_worker(|settings| {
    /// # let worker = Worker::from_settings(settings)?.state(sender).handler("start", start);
    /// # Ok(worker) }, async |client| {
    /// let ticket = client.request("start").submit().await?;
    /// let token = tokens.recv().await.expect("a token");
    /// client.settle(&token, Ok("started")).await?; // in any process that has the token
    /// assert_eq!(ticket.wait().await?.json::<String>()?, "started");
    /// # Ok(()) });
    /// ```
    ///
    /// Dropping the future leaves open whether the answer is deferred; the token is then lost.
    ///
    /// # Errors
    ///
    /// [`DeferError`].
    pub async fn defer<T: Serialize + ?Sized>(
        &self,
        data: &T,
        timeout: Option<Duration>,
    ) -> Result<CompletionToken, DeferError> {
        deferral(self.job(), to_raw_value(data)?, timeout, false).await
    }

    /// Defers the answer as [`Request::defer`] does, and publishes the result as an event on the
    /// topic `command_result`, under the header `nonce` of the request.
    ///
    /// ```
    /// use redcall_worker::{CompletionToken, HandlerError, Request, State};
    /// use tokio::sync::mpsc::UnboundedSender;
    ///
    /// async fn start(
    ///     request: Request,
    ///     device: State<UnboundedSender<CompletionToken>>,
    /// ) -> Result<(), HandlerError> {
    ///     device.send(request.defer_with_notification("on its way", None).await?)?;
    ///     Ok(())
    /// }
    /// # use redcall_worker::Worker;
    /// # use redcall_testkit::example::redcall_client::EventItem;
    /// # let (sender, mut tokens) = tokio::sync::mpsc::unbounded_channel();
    /// # redcall_testkit::example::with_worker(|settings| {
    /// # let worker = Worker::from_settings(settings)?.state(sender).handler("start", start);
    /// # Ok(worker) }, async |client| {
    /// let mut results = client.events("command_result").subscribe().await?;
    /// client.request("start").header("nonce", "7").send().await?;
    /// let token = tokens.recv().await.expect("a token");
    /// client.settle(&token, Ok("started")).await?;
    /// let Some(Ok(EventItem::Event(event))) = results.next().await else { panic!() };
    /// assert!(event.context.get().contains("started"));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// [`DeferError`].
    pub async fn defer_with_notification<T: Serialize + ?Sized>(
        &self,
        data: &T,
        timeout: Option<Duration>,
    ) -> Result<CompletionToken, DeferError> {
        deferral(self.job(), to_raw_value(data)?, timeout, true).await
    }
}

async fn deferral(
    job: &Job,
    data: Box<RawValue>,
    timeout: Option<Duration>,
    notify: bool,
) -> Result<CompletionToken, DeferError> {
    if job.service.is_some() {
        return Err(DeferError::OfService);
    }
    let (size, limit) = (data.get().len(), job.shared.limits.frame);
    if size > limit {
        return Err(DeferError::TooLarge { size, limit });
    }
    let limit = job.shared.limits.depth;
    if !data_fits(data.get().as_bytes(), limit) {
        return Err(DeferError::TooDeep { limit });
    }
    let timeout = timeout.unwrap_or(MAX_DEFERRAL);
    if timeout > MAX_DEFERRAL {
        return Err(DeferError::TooLong);
    }
    let timeout = job.context().remaining().map_or(timeout, |left| left.min(timeout));
    let token = CompletionToken::new(job.keys.queue.name(), &job.request.id);
    let digest = token.digest();
    let (sender, settled) = oneshot::channel();
    let outcome = |seq| outcome::deferred(job, &data, (digest, timeout, notify), seq);
    if !job.settle_as(outcome, Some(sender)).await {
        return Err(DeferError::NotOwned);
    }
    match settled.await {
        Ok(Settled::Yes) => Ok(token),
        _ => Err(DeferError::NotOwned),
    }
}
