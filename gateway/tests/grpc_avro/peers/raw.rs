//! An HTTP/2 client that does as a test requests: no deadlines of its own, any headers, any bytes.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::client::INIT;

pub(crate) type Sender = SendRequest<Full<Bytes>>;

/// Connects; `window` is how many bytes of a stream the server may send before they are read.
pub(crate) async fn connect(address: SocketAddr, window: u32) -> Sender {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A request as gRPC clients send it, with more headers and any body.
pub(crate) fn request(path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Request<Full<Bytes>> {
    let uri = format!("http://localhost{path}");
    let mut request = Request::post(uri).header("te", "trailers");
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/grpc");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::from(body))).unwrap()
}

/// The message that begins a job, in its frame.
pub(crate) fn init_message(follow: bool) -> Vec<u8> {
    let hex = "000000001d020200000002106d657461646174610214323032332d30332d30370000";
    let mut bytes = redcall_testkit::unhex(hex);
    *bytes.last_mut().unwrap() = u8::from(follow);
    bytes
}

/// A request that begins a job.
pub(crate) fn init(follow: bool, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    request(INIT, headers, init_message(follow))
}

/// The end of a call.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) http: u16,
    pub(crate) code: Option<u32>,
    pub(crate) messages: Vec<Bytes>,
}

/// Makes a call and reads it to its end.
pub(crate) async fn exchange(sender: &mut Sender, request: Request<Full<Bytes>>) -> RawAnswer {
    let response = sender.send_request(request).await.unwrap();
    read(response).await
}

/// Reads a response to its end.
pub(crate) async fn read(response: Response<Incoming>) -> RawAnswer {
    let code = |headers: &HeaderMap| {
        let code = headers.get("grpc-status")?;
        code.to_str().ok()?.parse().ok()
    };
    let (http, in_head) = (response.status().as_u16(), code(response.headers()));
    let mut body = response.into_body();
    let (mut messages, mut in_trailers) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.unwrap().into_data() {
            Ok(data) => messages.push(data),
            Err(frame) => in_trailers = frame.trailers_ref().and_then(code),
        }
    }
    RawAnswer { http, code: in_head.or(in_trailers), messages }
}
