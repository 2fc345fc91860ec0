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

/// The message with this text, of less than 64 bytes, as its `ingest_type`, in its frame.
pub(crate) fn message_of(ingest_type: &str) -> Vec<u8> {
    let length = u8::try_from(ingest_type.len()).unwrap();
    assert!(length < 64, "a length of one byte");
    let start = [&[2, 2, 0, 0, 0, 2, 2 * length], ingest_type.as_bytes()].concat();
    let datum = [&start[..], &[2, 20], b"2023-03-07", &[0, 0]].concat();
    [&[0][..], &u32::try_from(datum.len()).unwrap().to_be_bytes(), &datum].concat()
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
    /// Of the status, as it is on the wire.
    pub(crate) text: Option<String>,
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
    let text = |headers: &HeaderMap| Some(headers.get("grpc-message")?.to_str().ok()?.to_owned());
    let of = |headers: &HeaderMap| (code(headers), text(headers));
    let (http, in_head) = (response.status().as_u16(), of(response.headers()));
    let mut body = response.into_body();
    let (mut messages, mut in_trailers) = (Vec::new(), (None, None));
    while let Some(frame) = body.frame().await {
        match frame.unwrap().into_data() {
            Ok(data) => messages.push(data),
            Err(frame) => in_trailers = frame.trailers_ref().map(of).unwrap_or_default(),
        }
    }
    let (code, text) = (in_head.0.or(in_trailers.0), in_head.1.or(in_trailers.1));
    RawAnswer { http, code, text, messages }
}
