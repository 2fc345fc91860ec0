//! A panic ends the task of one connection or of one job, whatever the protocol. The tasks panic at
//! their next count, see `DoorMetrics::panic_next`.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use redcall_testkit::redis::cmd;
use redcall_testkit::{eventually, unhex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Opened, open_as};
use crate::error::DoorError;
use crate::protocols;
use crate::zmtp::wire::{SocketType, encode};

/// Only ever used up by a test that fails.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A door that is served.
struct Served {
    opened: Opened,
    serving: JoinHandle<Result<(), DoorError>>,
}

async fn serve(keys: &str) -> Served {
    let mut opened = open_as(&format!("[gateways.g]\n{keys}")).await;
    let listeners = std::mem::take(&mut opened.listeners);
    let serving = tokio::spawn(protocols::serve(opened.door.clone(), listeners));
    Served { opened, serving }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.opened.address).await.unwrap()
    }

    fn panic_next(&self) {
        self.opened.door.metrics().panic_next();
    }

    /// Checks that one task has panicked, and that the door goes on.
    async fn has_panicked_once(&self) {
        let panics = r#"redcall_gateway_refused_total{gateway="g",why="panic"}"#;
        let counted = async || (self.opened.metric(panics) == Some(1.0)).then_some(());
        eventually("the panic to be counted", counted).await;
        assert!(!self.serving.is_finished(), "the door has ended");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Waits for the end of a connection; returns what came before.
async fn ended(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A connection that is reset has ended as well.
    let _ = timeout(TIMEOUT, stream.read_to_end(&mut bytes)).await.expect("the connection ends");
    bytes
}

/// Reads until the bytes contain `text`.
async fn reads(stream: &mut TcpStream, text: &str) {
    let mut bytes = Vec::new();
    let reading = async {
        while !bytes.windows(text.len()).any(|part| part == text.as_bytes()) {
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the connection has ended");
        }
    };
    timeout(TIMEOUT, reading).await.unwrap_or_else(|_| panic!("no {text}"));
}

#[tokio::test]
async fn panic_ends_one_bgpy_connection() {
    let door = serve("protocol = 'bgpy'\nlisten = '127.0.0.1:0'\nservice = 's'").await;
    let (mut one, mut other) = (door.connect().await, door.connect().await);
    door.panic_next();
    one.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(ended(&mut one).await, b"");
    door.has_panicked_once().await;
    // AUTH, as recorded.
    let recorded = include_str!("../../../tests/vectors/bgpy/session.jsonl").lines().next();
    let auth: serde_json::Value = serde_json::from_str(recorded.unwrap()).unwrap();
    other.write_all(&unhex(auth["hex"].as_str().unwrap())).await.unwrap();
    // A frame begins with its length.
    reads(&mut other, "            ").await;
}

#[tokio::test]
async fn panic_ends_one_zmtp_console() {
    let door = serve("protocol = 'zmtp'\nlisten_commands = ['127.0.0.1:0']").await;
    let (mut one, mut other) = (door.connect().await, door.connect().await);
    door.panic_next();
    one.write_all(&[0; 64]).await.unwrap();
    ended(&mut one).await;
    door.has_panicked_once().await;
    other.write_all(&encode::opening(SocketType::Req)).await.unwrap();
    other.write_all(&encode::message(&[b"", b"no command"])).await.unwrap();
    reads(&mut other, "\"result\": 0").await;
}

#[tokio::test]
async fn panic_ends_one_zmtp_subscription_of_a_device() {
    let device = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = device.local_addr().unwrap();
    let door = serve(&format!("protocol = 'zmtp'\nconnect_events = ['{address}']")).await;
    let subscribed = async || {
        let (mut stream, _) = timeout(TIMEOUT, device.accept()).await.unwrap().unwrap();
        stream.write_all(&encode::opening(SocketType::Pub)).await.unwrap();
        reads(&mut stream, "SUBSCRIBE").await;
        stream
    };
    let mut one = subscribed().await;
    door.panic_next();
    one.write_all(&encode::message(&[b"not an event"])).await.unwrap();
    ended(&mut one).await;
    door.has_panicked_once().await;
    subscribed().await;
}

fn pm(message: &str) -> Vec<u8> {
    [&u32::try_from(message.len()).unwrap().to_be_bytes(), message.as_bytes()].concat()
}

const UNKNOWN: &str = r#"{"jsonrpc": "2.0", "id": 7, "method": "a b"}"#;

#[tokio::test]
async fn panic_ends_one_link_of_an_application() {
    for message in [UNKNOWN, "[]"] {
        let door = serve("protocol = 'pm'\nlisten = '127.0.0.1:0'").await;
        let mut one = door.connect().await;
        door.panic_next();
        one.write_all(&pm(message)).await.unwrap();
        assert_eq!(ended(&mut one).await, b"", "{message}");
        door.has_panicked_once().await;
        // The place of the only application is free.
        let mut next = door.connect().await;
        next.write_all(&pm(UNKNOWN)).await.unwrap();
        reads(&mut next, "-32601").await;
    }
}

#[tokio::test]
async fn panic_ends_one_link_to_pipeline_manager() {
    for message in [UNKNOWN, "[]"] {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let door = serve(&format!("protocol = 'pm'\nconnect = '{address}'")).await;
        let link = async || timeout(TIMEOUT, server.accept()).await.expect("it dials").unwrap().0;
        let mut one = link().await;
        door.panic_next();
        one.write_all(&pm(message)).await.unwrap();
        assert_eq!(ended(&mut one).await, b"", "{message}");
        door.has_panicked_once().await;
        let mut next = link().await;
        next.write_all(&pm(UNKNOWN)).await.unwrap();
        reads(&mut next, "-32601").await;
    }
}

type Calls = SendRequest<Full<Bytes>>;

/// A call of gRPC.
async fn call(
    calls: &mut Calls,
    path: &str,
) -> hyper::Result<hyper::Response<hyper::body::Incoming>> {
    // INIT, as recorded, with `follow`.
    let message = b"\0\0\0\0\x1d\x02\x02\0\0\0\x02\x10metadata\x02\x142023-03-07\0\x01";
    let request = Request::post(format!("http://localhost{path}"))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(Full::new(Bytes::from_static(message)));
    calls.send_request(request.unwrap()).await
}

#[tokio::test]
async fn panic_ends_one_grpc_connection() {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/grpc_avro/TemplateInput.avsc");
    let door = serve(&format!(
        "protocol = 'grpc-avro'\nlisten = '127.0.0.1:0'\n[gateways.g.methods.init]\n\
         path = '/a/init'\ndoes = 'init'\njob = 'a'\nrequest = '{schema}'\nkey = 'hash'\n\
         status = 'status'\nfollow = 'task_args.persistence'"
    ))
    .await;
    let connect = async || {
        let stream = TokioIo::new(door.connect().await);
        let (calls, connection) = handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        calls
    };
    let (mut one, mut other) = (connect().await, connect().await);
    let first = async |calls: &mut Calls| {
        let mut body = call(calls, "/a/init").await.unwrap().into_body();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        body
    };
    let (mut of_one, mut of_other) = (first(&mut one).await, first(&mut other).await);
    door.panic_next();
    assert!(call(&mut one, "/a/unknown").await.is_err(), "it was answered");
    let ended = timeout(TIMEOUT, of_one.frame()).await.expect("the connection ends");
    assert!(ended.is_none_or(|frame| frame.is_err()));
    door.has_panicked_once().await;
    // The streams of other connections go on, and others begin.
    drop(first(&mut other).await);
    assert!(timeout(Duration::from_millis(1), of_other.frame()).await.is_err(), "it has ended");
    let unknown = call(&mut connect().await, "/a/unknown").await.unwrap();
    assert_eq!(unknown.headers()["grpc-status"], "12");
}

#[tokio::test]
async fn panic_ends_one_job_of_rq() {
    let door = serve("protocol = 'rq'\ntake = ['default']").await;
    let mut redis = door.opened.redis.connection().await;
    door.panic_next();
    for id in ["one", "other"] {
        let key = format!("rq:job:{id}");
        let (data, status) = (("data", "not a pickle"), ("status", "queued"));
        let mut pipe = redcall_testkit::redis::pipe();
        pipe.hset_multiple(&key, &[data, status]).rpush("rq:queue:default", id);
        pipe.exec_async(&mut redis).await.unwrap();
        eventually("the job to end", async || {
            let call = cmd("HGET").arg(&key).arg("status").to_owned();
            let status: String = call.query_async(&mut redis.clone()).await.unwrap();
            (status == "failed").then_some(())
        })
        .await;
    }
    door.has_panicked_once().await;
}
