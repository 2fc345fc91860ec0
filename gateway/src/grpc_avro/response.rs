//! Responses: messages, then the status as trailers; or the status alone.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use redcall_client::StatusStream;

use crate::grpc_avro::states::Follow;
use crate::grpc_avro::wire::encoding::ACCEPTED;
use crate::grpc_avro::wire::message::framed;
use crate::grpc_avro::wire::status::Status;

/// The body of a response.
pub(crate) type ReplyBody = UnsyncBoxBody<Bytes, Infallible>;

/// The messages of a response.
pub(crate) enum Reply {
    /// One message.
    One(Vec<u8>),
    /// One message, then those of a job's further states.
    Stream(Vec<u8>, Box<Follow>),
}

/// Returns a response with messages. Dropping its body ends the stream, not the job.
pub(crate) fn streamed(reply: Reply) -> Response<ReplyBody> {
    let (first, follow) = match reply {
        Reply::One(message) => (message, None),
        Reply::Stream(message, follow) => (message, Some(follow)),
    };
    let messages = Messages { first: Some(first), follow, states: None, is_over: false };
    let frames = stream::unfold(messages, async |mut messages| {
        let frame = messages.next().await?;
        Some((Ok(frame), messages))
    });
    with_headers(StreamBody::new(frames).boxed_unsync())
}

/// Returns a response without messages.
pub(crate) fn ended(status: &Status) -> Response<ReplyBody> {
    let mut response = with_headers(Empty::new().boxed_unsync());
    status.add_to(response.headers_mut());
    response
}

/// Returns the response to a request that is not gRPC.
pub(crate) fn not_grpc(code: StatusCode) -> Response<ReplyBody> {
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = code;
    response
}

fn with_headers(body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static(ACCEPTED));
    response
}

/// The messages that are still to be sent.
struct Messages {
    first: Option<Vec<u8>>,
    follow: Option<Box<Follow>>,
    /// Opened after the first message, which does not depend on it.
    states: Option<StatusStream>,
    is_over: bool,
}

impl Messages {
    async fn next(&mut self) -> Option<Frame<Bytes>> {
        if let Some(first) = self.first.take() {
            return Some(Frame::data(framed(&first)));
        }
        if self.is_over {
            return None;
        }
        let status = match self.following().await {
            Ok(Some(message)) => return Some(Frame::data(framed(&message))),
            Ok(None) => Status::ok(),
            Err(status) => status,
        };
        self.is_over = true;
        Some(Frame::trailers(status.trailers()))
    }

    async fn following(&mut self) -> Result<Option<Vec<u8>>, Status> {
        let Some(follow) = &mut self.follow else { return Ok(None) };
        if self.states.is_none() {
            self.states = Some(follow.open().await?);
        }
        match &mut self.states {
            Some(states) => follow.next(states).await,
            None => Ok(None),
        }
    }
}
