//! The open streams of a connection, and how long there are none.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::grpc_avro::flow::{Flow, Part, Share, Waits};

/// The number of open streams.
#[derive(Debug)]
pub(crate) struct Activity(watch::Sender<usize>);

impl Default for Activity {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Activity {
    /// Counts a stream until it is dropped.
    pub(crate) fn stream(self: &Arc<Self>) -> OpenStream {
        self.0.send_modify(|open| *open += 1);
        OpenStream(self.clone())
    }

    /// Completes when there was no stream for `limit`; never without a limit. Cancel safe, but
    /// begins again.
    pub(crate) async fn idle(&self, limit: Option<Duration>) {
        let Some(limit) = limit else { return std::future::pending().await };
        let mut open = self.0.subscribe();
        loop {
            // The sender is `self`.
            let _ = open.wait_for(|open| *open == 0).await;
            tokio::select! {
                _ = open.changed() => {}
                () = sleep(limit) => return,
            }
        }
    }
}

/// One open stream.
pub(crate) struct OpenStream(Arc<Activity>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.0.send_modify(|open| *open -= 1);
    }
}

impl OpenStream {
    /// Holds the stream open until the body of its response is dropped.
    pub(crate) fn hold<B: Body>(
        self,
        response: Response<B>,
        flow: &Arc<Flow>,
    ) -> Response<Held<B>> {
        let share = flow.response();
        response.map(|body| {
            let is_due = (!body.is_end_stream()).then(|| share.waits());
            Held { body, rest: Bytes::new(), share, is_due, _stream: self }
        })
    }
}

/// A body that holds its stream open, and goes out in small parts.
pub(crate) struct Held<B> {
    body: B,
    /// The rest of a message.
    rest: Bytes,
    share: Share,
    /// Held while the body has to be polled next: the HTTP/2 library does that only when the peer
    /// takes more.
    is_due: Option<Waits>,
    _stream: OpenStream,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Held<B> {
    type Data = Part;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Part>, B::Error>>> {
        while self.rest.is_empty() {
            let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(cx) else {
                self.is_due = None;
                return Poll::Pending;
            };
            match next.map(|next| next.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(frame))) => {
                    // Not data: trailers, the last frame.
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let Self { rest, share, is_due, .. } = &mut *self;
        let part = share.part(rest);
        is_due.get_or_insert_with(|| share.waits());
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}
