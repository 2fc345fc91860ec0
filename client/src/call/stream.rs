//! The frames of one request up to its end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use futures_util::{FutureExt, Stream};
use redcall_common::auth::Call;
use redcall_common::context::Context;
use redcall_common::frame::{Deferral, Frame, FrameType};
use redcall_common::keys::QueueKeys;
use serde_json::value::RawValue;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::call::request::Prepared;
use crate::engine::client::Client;
use crate::engine::deadline::deadline_in;
use crate::engine::in_flight::{Frames, Guard, Stage};
use crate::engine::replies::{Trim, Wanted};
use crate::error::CallError;
use crate::response::Response;

/// Number of frames read before they are trimmed.
const TRIM_AFTER: usize = 64;
/// Bytes of data read before they are trimmed: an eighth of the unread data at which the handler
/// blocks.
const TRIM_AFTER_BYTES: usize = 1 << 20;

/// A change of a streamed request.
#[derive(Debug, Clone)]
pub enum Update {
    /// A new attempt has started; earlier updates may repeat.
    Restarted {
        /// Number of the attempt, counted from 1.
        attempt: u32,
    },
    /// The request is queued: the first update of a submitted request.
    Pending,
    /// The handler deferred the answer.
    Deferred {
        /// The handler's data.
        data: Box<RawValue>,
        /// `true` if the end will also be published on the topic `command_result`.
        notify: bool,
        /// When the request ends with `deadline_exceeded` if it is not settled: Redis time, ms
        /// since the epoch. `None` if the worker has not set it.
        until_ms: Option<u64>,
    },
    /// Progress reported by the handler.
    Progress(Box<RawValue>),
    /// A part of the answer.
    Chunk(Box<RawValue>),
    /// The answer. The last item.
    Done(Response),
}

/// The updates of one request, ended by [`Update::Done`] or an error.
///
/// For a request of this client, dropping the stream before its end cancels the job: if it has not
/// started it never does, and a running handler is notified. The request's timeout does the same
/// and ends the stream with an error; if that states that nothing is queued, nothing will be.
/// [`FrameStream::detach`] ends the stream and not the job. A request followed by
/// [`Client::follow`] continues.
///
/// Delivered frames are trimmed from Redis, in batches; the handler blocks while too many are
/// unread. With several readers of one request, each trims; a reader that falls behind another ends
/// with `not_found`.
///
/// ```
/// # redcall_testkit::example::with_client(async |client| {
/// use futures_util::TryStreamExt as _;
/// use redcall_client::Update;
/// use serde_json::json;
///
/// let stream = client.request("count").data(&json!({"to": 3})).stream().await?;
/// let parts = stream.try_filter_map(async |update| match update {
///     Update::Chunk(part) => Ok(Some(part.to_string())),
///     _ => Ok(None),
/// });
/// assert_eq!(parts.try_collect::<Vec<_>>().await?, ["1", "2", "3"]);
/// # Ok(()) });
/// ```
pub struct FrameStream {
    // Before the client: dropping the last client ends the task that writes the cancellation.
    guard: Guard,
    /// Receives announcements of another client's request; never ends.
    announcements: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    client: Client,
    source: Source,
    deadline: Pin<Box<Sleep>>,
    /// `true` while the reader waits: only then does `deadline` apply.
    is_waiting: bool,
    /// Ends when the surrounding handler is cancelled; `None` outside of a handler.
    cancelled: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    frames: Frames,
    /// Attempt and `seq` of the last frame yielded.
    position: (u32, u64),
    /// Frames and bytes read and not yet trimmed.
    untrimmed: (usize, usize),
    /// The error after the last frame received.
    final_error: Option<CallError>,
    ended: bool,
}

/// The request of a stream, and how long to wait for its frames.
pub(crate) struct Source {
    pub(crate) id: String,
    pub(crate) response_key: String,
    pub(crate) keys: Arc<QueueKeys>,
    pub(crate) ownership: Ownership,
    /// Context of the surrounding handler; `None` outside of a handler.
    pub(crate) context: Option<Context>,
}

/// The sender of the request.
pub(crate) enum Ownership {
    /// This client; it waits for all frames until `until`. `call` is the digest of its idempotency
    /// key, if any.
    Own { until: Instant, call: Option<String> },
    /// Another client; this one waits up to `timeout` for each frame.
    Foreign { timeout: Duration },
}

impl Source {
    pub(crate) fn of(prepared: Prepared) -> Self {
        let ownership = Ownership::Own { until: prepared.deadline, call: prepared.call };
        let (id, response_key, keys) =
            (prepared.id, prepared.response_key, prepared.route.keys.clone());
        Self { id, response_key, keys, ownership, context: prepared.context }
    }

    /// Returns the deadline of a wait that begins now.
    fn deadline(&self) -> Instant {
        match &self.ownership {
            Ownership::Own { until, .. } => *until,
            Ownership::Foreign { timeout } => {
                let left = self.context.as_ref().and_then(Context::remaining);
                deadline_in(left.map_or(*timeout, |left| left.min(*timeout)))
            }
        }
    }

    fn call(&self) -> Call<'_> {
        match &self.ownership {
            Ownership::Own { call, .. } => Call::Known(call.as_deref()),
            Ownership::Foreign { .. } => Call::Unknown,
        }
    }
}

impl FrameStream {
    pub(crate) fn new(
        client: Client,
        source: Source,
        (guard, frames): (Guard, Frames),
        announcements: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    ) -> Self {
        let deadline = Box::pin(sleep_until(source.deadline()));
        let cancel = source.context.as_ref().map(|context| context.cancel.clone());
        let cancelled = cancel.map(|cancel| {
            let cancelled = async move { cancel.cancelled().await };
            Box::pin(cancelled) as Pin<Box<dyn Future<Output = ()> + Send>>
        });
        let (position, untrimmed, final_error) = ((0, 0), (0, 0), None);
        let (is_waiting, ended) = (false, false);
        Self {
            guard,
            announcements,
            client,
            source,
            deadline,
            is_waiting,
            cancelled,
            frames,
            position,
            untrimmed,
            final_error,
            ended,
        }
    }

    /// Returns the request's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.source.id
    }

    /// Returns the key by which any process follows the request: [`Client::follow`].
    #[must_use]
    pub fn response_key(&self) -> &str {
        &self.source.response_key
    }

    /// Returns attempt and sequence number of the last frame yielded, both 0 before the first.
    /// Another process continues with the next number.
    #[must_use]
    pub fn position(&self) -> (u32, u64) {
        self.position
    }

    /// Ends the stream without cancelling the request, and returns its response key. Any process
    /// can then [fetch](Client::fetch) the answer or [follow](Client::follow) the request, once a
    /// frame has arrived. The job keeps its own time: [`RequestBuilder::job_timeout`].
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use serde_json::json;
    ///
    /// let mut stream = client.request("count").data(&json!({"to": 3})).stream().await?;
    /// stream.next().await; // it runs
    /// let response_key = stream.detach()?;
    /// client.fetch(&response_key).await?;
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// If the request is not sent yet: it is withdrawn, as if the stream was dropped.
    ///
    /// [`RequestBuilder::job_timeout`]: crate::RequestBuilder::job_timeout
    pub fn detach(mut self) -> Result<String, CallError> {
        // Final: the sender writes only requests that have a waiter.
        match self.guard.give_up() {
            Stage::Sent => {
                self.guard.answered();
                Ok(std::mem::take(&mut self.source.response_key))
            }
            stage => Err(stage.why_late(self.source.keys.name())),
        }
    }

    /// Waits for the next update; `None` after the last. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Update, CallError>> {
        std::future::poll_fn(|cx| self.poll_update(cx)).await
    }

    fn poll_update(
        &mut self,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Update, CallError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = loop {
            match self.frames.poll_recv(cx) {
                Poll::Ready(Some(Ok(frame))) => break frame,
                Poll::Ready(Some(Err(error))) => return self.end(Err(error)),
                Poll::Ready(None) => {
                    let why = self.final_error.take().unwrap_or_else(CallError::reply_lost);
                    return self.end(Err(why));
                }
                Poll::Pending => {
                    if let Some(announcements) = &mut self.announcements {
                        let _ = announcements.poll_unpin(cx);
                    }
                    if !std::mem::replace(&mut self.is_waiting, true) {
                        self.deadline.as_mut().reset(self.source.deadline());
                    }
                    let over = self.cancelled.as_mut().map(|cancelled| cancelled.poll_unpin(cx));
                    let cancelled = over.is_some_and(|over| over.is_ready());
                    if !cancelled {
                        std::task::ready!(self.deadline.poll_unpin(cx));
                    }
                    // No more frames are received or sent. Frames already received are still
                    // yielded.
                    let stage = self.guard.give_up();
                    self.guard.withdraw();
                    self.final_error = Some(if cancelled {
                        stage.why_cancelled()
                    } else {
                        stage.why_late(self.source.keys.name())
                    });
                }
            }
        };
        self.is_waiting = false;
        let (inner, response_key) = (&self.client.inner, &self.source.response_key);
        let frame = match inner.trusted(frame, response_key, self.source.call()) {
            Ok(frame) => frame,
            Err(error) => return self.end(Err(error)),
        };
        self.position = (frame.attempt, frame.seq);
        self.untrimmed.0 += 1;
        self.untrimmed.1 += frame.data.as_ref().map_or(0, |data| data.get().len());
        if self.untrimmed.0 == TRIM_AFTER || self.untrimmed.1 >= TRIM_AFTER_BYTES {
            self.trim(&frame);
            self.untrimmed = (0, 0);
        }
        let data = || frame.data.clone().unwrap_or_else(|| RawValue::NULL.to_owned());
        let update = match frame.kind {
            FrameType::Restarted => Update::Restarted { attempt: frame.attempt },
            FrameType::Pending => Update::Pending,
            FrameType::Deferred => {
                let deferral = frame.deferral.as_deref().copied().unwrap_or_default();
                let Deferral { notify, until_ms } = deferral;
                Update::Deferred { data: data(), notify: notify.unwrap_or_default(), until_ms }
            }
            FrameType::Progress => Update::Progress(data()),
            FrameType::Chunk => Update::Chunk(data()),
            FrameType::Result | FrameType::Error => {
                inner.forget(&self.source.keys, response_key, &frame);
                let response = Response::from_frame(frame, response_key.clone());
                return self.end(response.map(Update::Done));
            }
        };
        Poll::Ready(Some(Ok(update)))
    }

    /// Trims the frames read: the handler blocks while too many are unread.
    fn trim(&self, frame: &Frame) {
        let (id, key) = (self.source.id.clone(), self.source.response_key.clone());
        let trim = Trim { id, key, attempt: frame.attempt, seq: frame.seq };
        // The reader ends with the client.
        let _ = self.client.inner.wanted.send(Wanted::Trim(trim));
    }

    fn end(&mut self, last: Result<Update, CallError>) -> Poll<Option<Result<Update, CallError>>> {
        self.ended = true;
        Poll::Ready(Some(last))
    }
}

impl Stream for FrameStream {
    type Item = Result<Update, CallError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_update(cx)
    }
}
