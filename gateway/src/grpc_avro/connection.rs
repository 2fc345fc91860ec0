//! One connection: HTTP/2, bounded.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::door::{Connection, Door, Stream};
use crate::grpc_avro::activity::Activity;
use crate::grpc_avro::flow::Flow;
use crate::grpc_avro::service::{Caller, Service};
use crate::grpc_avro::wire::message::ReadLimits;

/// The first bytes of an HTTP/2 connection.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Time limit of those bytes.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);

/// Open streams per connection.
const STREAMS: u32 = 100;
/// Bytes of all headers of a request.
const HEADERS: u32 = 16 << 10;
/// Bytes that a peer may send ahead of the reader, per stream and per connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of responses that wait for the peer, per stream.
const SEND_BUFFER: usize = 64 << 10;
/// Streams that the peer has reset, or that broke a rule, before the connection ends.
const RESETS: usize = 100;
/// Interval of pings, by which a dead peer is noticed, and the time limit of their answer.
const PING: Duration = Duration::from_secs(20);
/// Messages of the largest size that may be read at once.
const MESSAGES_AT_ONCE: usize = 4;

/// Serves a connection to its end.
pub(crate) async fn serve(connection: Connection, service: Arc<Service>) {
    let Connection { stream, peer, open: _open } = connection;
    let door = service.door.clone();
    let Some(stream) = after_preface(stream).await else {
        return door.refuse(&peer, "not_http2");
    };
    let (activity, flow) = (Arc::new(Activity::default()), Arc::new(Flow::default()));
    // Ends the streams with the connection, however it ends.
    let broken = CancellationToken::new();
    let _guard = broken.clone().drop_guard();
    let caller = Caller { peer: peer.as_str().into(), limits: read_limits(&door) };
    let answer = service_fn(|request| {
        let (service, caller, stream) = (service.clone(), caller.clone(), activity.stream());
        let flow = flow.clone();
        async move {
            let response = service.answer(caller, request).await;
            Ok::<_, std::convert::Infallible>(stream.hold(response, &flow))
        }
    });
    let tasks = Tasks { door: door.clone(), broken: broken.clone() };
    let mut serving = std::pin::pin!(builder(tasks).serve_connection(TokioIo::new(stream), answer));
    let mut is_closing = false;
    loop {
        tokio::select! {
            biased;
            () = broken.cancelled() => return,
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(gateway = door.name(), peer, %error, "connection failed");
                    door.metrics().refused("http2");
                }
                return;
            }
            () = flow.stalled() => return door.refuse(&peer, "stalled"),
            () = door.draining(), if !is_closing => {}
            () = activity.idle(door.settings().listening.idle), if !is_closing => {
                door.metrics().refused("idle");
            }
        }
        is_closing = true;
        serving.as_mut().graceful_shutdown();
    }
}

fn builder(tasks: Tasks) -> Builder<Tasks> {
    let mut builder = Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

fn read_limits(door: &Door) -> ReadLimits {
    let message = door.settings().message;
    // Frames add five bytes to each message.
    let bytes = (message + (1 << 10)).saturating_mul(MESSAGES_AT_ONCE);
    ReadLimits { message, buffered: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))) }
}

/// Reads the first bytes of HTTP/2, and returns the whole connection; `None` for other bytes, or
/// if none come. The HTTP/2 library would wait for them without a limit.
async fn after_preface(mut stream: Stream) -> Option<impl AsyncRead + AsyncWrite + Unpin> {
    let mut preface = [0; PREFACE.len()];
    let reading = async {
        for (index, expected) in PREFACE.iter().enumerate() {
            // The first wrong byte ends it: a peer with another protocol may send fewer.
            if stream.read_exact(&mut preface[index..=index]).await.is_err()
                || preface[index] != *expected
            {
                return None;
            }
        }
        Some(())
    };
    timeout(PREFACE_TIMEOUT, reading).await.ok()??;
    let (read, write) = tokio::io::split(stream);
    Some(tokio::io::join(Cursor::new(preface).chain(read), write))
}

/// Spawns the streams of a connection. The panic of one ends the connection.
#[derive(Clone)]
struct Tasks {
    door: Arc<Door>,
    broken: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let stream = self.door.tracked(stream);
        let Self { door, broken } = self.clone();
        tokio::spawn(async move {
            if let Some(None) = broken.run_until_cancelled(door.guarded(stream)).await {
                broken.cancel();
            }
        });
    }
}
