//! Following one request's frames to the end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{FutureExt, Stream};
use redcall_common::frame::{Frame, FrameType};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::client::{Client, Route};
use crate::error::CallError;
use crate::pending::Guard;
use crate::response::Response;

/// How many frames are taken before they are dropped at Redis.
const TRIM_AFTER: usize = 64;

/// What a followed request does.
#[derive(Debug, Clone)]
pub enum Update {
    /// It was started again on another worker: what came before may come again.
    Restarted {
        /// Which run this is, counted from 1.
        attempt: u32,
    },
    /// The handler says how far it is.
    Progress(Box<RawValue>),
    /// A part of the answer.
    Chunk(Box<RawValue>),
    /// The answer: the last item.
    Done(Response),
}

/// The updates of one request, ended by [`Update::Done`] or an error.
///
/// Dropping it gives the answer up, not the job.
pub struct FrameStream {
    client: Client,
    route: Arc<Route>,
    response_key: String,
    deadline: Pin<Box<Sleep>>,
    guard: Guard,
    frames: mpsc::UnboundedReceiver<Result<Frame, CallError>>,
    taken: usize,
    ended: bool,
}

impl FrameStream {
    pub(crate) fn new(
        client: Client,
        route: Arc<Route>,
        response_key: String,
        deadline: Instant,
        guard: Guard,
        frames: mpsc::UnboundedReceiver<Result<Frame, CallError>>,
    ) -> Self {
        let deadline = Box::pin(sleep_until(deadline));
        Self { client, route, response_key, deadline, guard, frames, taken: 0, ended: false }
    }

    /// The next update; `None` after the last. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Update, CallError>> {
        std::future::poll_fn(|cx| self.poll_update(cx)).await
    }

    fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Update, CallError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = match self.frames.poll_recv(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => return self.end(Err(error)),
            Poll::Ready(None) => return self.end(Err(crate::request::closed())),
            Poll::Pending => {
                std::task::ready!(self.deadline.poll_unpin(cx));
                let sent = self.guard.was_sent();
                let error = if sent { CallError::TimedOut } else { CallError::not_sent() };
                return self.end(Err(error));
            }
        };
        self.taken += 1;
        if self.taken == TRIM_AFTER {
            self.client.inner.trim(&self.response_key, TRIM_AFTER);
            self.taken = 0;
        }
        let data = || frame.data.clone().unwrap_or_else(|| RawValue::NULL.to_owned());
        let update = match frame.kind {
            FrameType::Pending => Update::Restarted { attempt: frame.attempt },
            FrameType::Progress => Update::Progress(data()),
            FrameType::Chunk => Update::Chunk(data()),
            FrameType::Result | FrameType::Error => {
                self.client.inner.forget(&self.route.keys, &self.response_key);
                let response = Response::from_frame(frame, self.response_key.clone());
                return self.end(response.map(Update::Done));
            }
        };
        Poll::Ready(Some(Ok(update)))
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
