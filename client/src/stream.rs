//! Following one request's frames to the end.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{FutureExt, Stream};
use redcall_common::auth::Call;
use redcall_common::frame::{Frame, FrameType};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep_until};

use crate::client::Client;
use crate::error::CallError;
use crate::pending::Guard;
use crate::replies::{Trim, Wanted};
use crate::request::Ready;
use crate::response::Response;

/// How many frames are taken before they are dropped at Redis.
const TRIM_AFTER: usize = 64;
/// The same in bytes of data: an eighth of what may lie unread before the handler waits.
const TRIM_AFTER_BYTES: usize = 1 << 20;

/// What a followed request does.
#[derive(Debug, Clone)]
pub enum Update {
    /// It was started again on another worker: what came before may come again.
    Restarted {
        /// Which run this is, counted from 1.
        attempt: u32,
    },
    /// It was taken up, and its answer comes later: the receipt of a service's task.
    Pending(Box<RawValue>),
    /// The handler says how far it is.
    Progress(Box<RawValue>),
    /// A part of the answer.
    Chunk(Box<RawValue>),
    /// The answer: the last item.
    Done(Response),
}

/// The updates of one request, ended by [`Update::Done`] or an error.
///
/// Dropping it before its end withdraws the job: it does not start any more, and a running one is
/// told. So does the end of the request's timeout, with which it ends with an error; if that says
/// that nothing is queued, nothing will be.
pub struct FrameStream {
    // Before the client: the last one to go ends the task that writes the withdrawal.
    guard: Guard,
    client: Client,
    ready: Ready,
    deadline: Pin<Box<Sleep>>,
    /// Ends with the handler that follows the request; none outside of one.
    cancelled: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    frames: mpsc::UnboundedReceiver<Result<Frame, CallError>>,
    /// Frames and bytes that were read and not yet trimmed.
    taken: (usize, usize),
    /// Why there will be no more frames than those that have come.
    late: Option<CallError>,
    ended: bool,
}

impl FrameStream {
    pub(crate) fn new(
        client: Client,
        ready: Ready,
        guard: Guard,
        frames: mpsc::UnboundedReceiver<Result<Frame, CallError>>,
    ) -> Self {
        let deadline = Box::pin(sleep_until(ready.deadline));
        let cancel = ready.context.as_ref().map(|context| context.cancel.clone());
        let cancelled = cancel.map(|cancel| {
            let cancelled = async move { cancel.cancelled().await };
            Box::pin(cancelled) as Pin<Box<dyn Future<Output = ()> + Send>>
        });
        let (taken, late, ended) = ((0, 0), None, false);
        Self { guard, client, ready, deadline, cancelled, frames, taken, late, ended }
    }

    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.ready.id
    }

    /// The next update; `None` after the last. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Update, CallError>> {
        std::future::poll_fn(|cx| self.poll_update(cx)).await
    }

    fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Update, CallError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = loop {
            match self.frames.poll_recv(cx) {
                Poll::Ready(Some(Ok(frame))) => break frame,
                Poll::Ready(Some(Err(error))) => return self.end(Err(error)),
                Poll::Ready(None) => {
                    let why = self.late.take().unwrap_or_else(CallError::unheard);
                    return self.end(Err(why));
                }
                Poll::Pending => {
                    let over = self.cancelled.as_mut().map(|cancelled| cancelled.poll_unpin(cx));
                    let cancelled = over.is_some_and(|over| over.is_ready());
                    if !cancelled {
                        std::task::ready!(self.deadline.poll_unpin(cx));
                    }
                    // From now on nothing comes and nothing is sent. What has come before is read.
                    let stage = self.guard.give_up();
                    self.guard.withdraw();
                    self.late = Some(if cancelled {
                        stage.why_cancelled()
                    } else {
                        stage.why_late(self.ready.route.keys.name())
                    });
                }
            }
        };
        let call = Call::Known(self.ready.call.as_deref());
        let frame = match self.client.inner.trusted(frame, &self.ready.response_key, call) {
            Ok(frame) => frame,
            Err(error) => return self.end(Err(error)),
        };
        self.taken.0 += 1;
        self.taken.1 += frame.data.as_ref().map_or(0, |data| data.get().len());
        if self.taken.0 == TRIM_AFTER || self.taken.1 >= TRIM_AFTER_BYTES {
            self.trim(&frame);
            self.taken = (0, 0);
        }
        let data = || frame.data.clone().unwrap_or_else(|| RawValue::NULL.to_owned());
        let update = match frame.kind {
            FrameType::Pending if frame.data.is_some() => Update::Pending(data()),
            FrameType::Pending => Update::Restarted { attempt: frame.attempt },
            FrameType::Progress => Update::Progress(data()),
            FrameType::Chunk => Update::Chunk(data()),
            FrameType::Result | FrameType::Error => {
                self.client.inner.forget(&self.ready.route.keys, &self.ready.response_key);
                let response = Response::from_frame(frame, self.ready.response_key.clone());
                return self.end(response.map(Update::Done));
            }
        };
        Poll::Ready(Some(Ok(update)))
    }

    /// Has what was read dropped at Redis: the handler waits when too much lies there.
    fn trim(&self, frame: &Frame) {
        let (id, key) = (self.ready.id.clone(), self.ready.response_key.clone());
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

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_update(cx)
    }
}
