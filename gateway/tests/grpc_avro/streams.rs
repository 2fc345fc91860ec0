//! Streams that end early, wait, or are many.

use std::time::Duration;

use http_body_util::BodyExt as _;
use redcall_testkit::eventually;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::timeout;

use crate::client::{CALL, GrpcClient, INIT, monitor, record};
use crate::door::{door, worker};
use crate::python::python;
use crate::raw::{self, connect, exchange};
use crate::support::Stage;

/// Bytes that a stream may carry before they are read, where it does not matter.
const WIDE: u32 = 1 << 20;

#[tokio::test]
async fn stream_ends_at_its_grpc_timeout_and_its_job_goes_on() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let (_worker, mut job) = worker(&stage).await;
    // This client has no deadline of its own: the server ends the stream.
    let mut sender = connect(gateway.address("scix", "listen"), WIDE).await;
    let ended = exchange(&mut sender, raw::init(true, &[("grpc-timeout", "700m")])).await;
    assert_eq!((ended.http, ended.code), (200, Some(4)));
    assert!(!ended.messages.is_empty());
    job.started.recv().await.unwrap();
    job.end_one();
    let id = str::from_utf8(&ended.messages[0][7..43]).unwrap().to_owned();
    let mut client = GrpcClient::of(&python, gateway.address("scix", "listen"));
    let (states, code) = client.states(monitor(&id, true)).await;
    assert_eq!((states.last().unwrap().as_str(), &*code), ("Success", "OK"));
}

#[tokio::test]
async fn malformed_grpc_timeout_is_refused() {
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let mut sender = connect(gateway.address("scix", "listen"), WIDE).await;
    for wrong in ["", "1", "S", "123456789S", "-1S", "1s"] {
        let ended = exchange(&mut sender, raw::init(false, &[("grpc-timeout", wrong)])).await;
        assert_eq!(ended.code, Some(3), "{wrong}");
    }
    // Over at once.
    let ended = exchange(&mut sender, raw::init(false, &[("grpc-timeout", "0n")])).await;
    assert_eq!(ended.code, Some(4));
}

#[tokio::test]
async fn job_for_a_full_queue_is_refused() {
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("[limits]\nmax_length = 1\n")).await;
    let mut sender = connect(gateway.address("scix", "listen"), WIDE).await;
    assert_eq!(exchange(&mut sender, raw::init(false, &[])).await.code, Some(0));
    // RESOURCE_EXHAUSTED.
    assert_eq!(exchange(&mut sender, raw::init(false, &[])).await.code, Some(8));
}

/// A request whose message never comes whole must not hold its stream.
#[tokio::test]
async fn request_without_an_end_is_ended_by_the_timeout() {
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("timeout = \"300ms\"")).await;
    let address = gateway.address("scix", "listen");
    let answered = crate::hostile::half_a_request(address).await;
    assert!(answered.iter().any(|byte| *byte != 0), "the stream got no answer");
}

#[tokio::test]
async fn abandoned_stream_ends_its_subscription_and_not_its_job() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let mut client = GrpcClient::of(&python, gateway.address("scix", "listen"));
    let mut other = GrpcClient::of(&python, gateway.address("scix", "listen"));
    client.begin(json!({"path": INIT, "record": record(true)})).await;
    let id = client.record().await["hash"].as_str().unwrap().to_owned();
    eventually("the stream to follow its job", async || {
        (followed_jobs(&stage).await == 1).then_some(())
    })
    .await;
    drop(client);
    eventually("the subscription to end", async || {
        (followed_jobs(&stage).await == 0).then_some(())
    })
    .await;
    let (_worker, job) = worker(&stage).await;
    job.end_one();
    let (states, code) = other.states(monitor(&id, true)).await;
    assert_eq!((states.last().unwrap().as_str(), &*code), ("Success", "OK"));
}

/// The number of jobs whose status a client follows, as Redis counts its subscribed channels.
async fn followed_jobs(stage: &Stage) -> usize {
    let url = stage.redis.url();
    let path = url.split_once("://").expect("a scheme").1;
    let path = path.split('?').next().expect("a path");
    let stream = tokio::net::UnixStream::connect(path).await.unwrap();
    let (read, mut write) = stream.into_split();
    write.write_all(b"PUBSUB SHARDCHANNELS *:status:*\r\n").await.unwrap();
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).await.unwrap();
    line.trim().strip_prefix('*').expect("an array").parse().unwrap()
}

#[tokio::test]
async fn abandoned_call_withdraws_its_job() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let (dropped, mut drops) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |_: redcall_worker::Request| {
        let (started, guard) = (started.clone(), OnDrop(dropped.clone()));
        async move {
            let _guard = guard;
            started.send(()).unwrap();
            std::future::pending::<Result<redcall_worker::Json<()>, redcall_worker::HandlerError>>()
                .await
        }
    };
    let _worker = stage.worker(|worker| worker.handler("transform", handler)).await;
    let mut client = GrpcClient::of(&python, gateway.address("scix", "listen"));
    client.begin(json!({"path": CALL, "record": record(false)})).await;
    starts.recv().await.unwrap();
    drop(client);
    timeout(Duration::from_secs(10), drops.recv()).await.expect("the run ends").unwrap();
}

struct OnDrop(tokio::sync::mpsc::UnboundedSender<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// The reader takes one frame's worth; the rest waits, and no other connection with it.
#[tokio::test]
async fn slow_reader_gets_all_frames_and_delays_nothing_else() {
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let (_worker, job) = worker(&stage).await;
    let address = gateway.address("scix", "listen");
    let mut slow = connect(address, 80).await;
    let mut body = slow.send_request(raw::init(true, &[])).await.unwrap().into_body();
    job.end_one();
    job.end_one();
    let mut quick = connect(address, WIDE).await;
    let ended = exchange(&mut quick, raw::init(true, &[])).await;
    assert_eq!((ended.code, states(&ended.messages.concat())), (Some(0), vec![0, 1, 3]));
    let (mut bytes, mut code) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.unwrap().into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => code = Some(frame.into_trailers().unwrap()["grpc-status"].clone()),
        }
    }
    assert_eq!((code.unwrap().as_bytes(), states(&bytes)), (&b"0"[..], vec![0, 1, 3]));
}

/// The symbols of the states in a body of frames.
fn states(mut body: &[u8]) -> Vec<u8> {
    let mut states = Vec::new();
    while let Some((head, rest)) = body.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let (message, rest) = rest.split_at(length);
        // After the hash: its branch, its length, 36 characters; null, the task, the branch.
        states.push(message[41] / 2);
        body = rest;
    }
    states
}

#[tokio::test]
async fn connection_has_100_streams_and_the_next_waits() {
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let mut sender = connect(gateway.address("scix", "listen"), WIDE).await;
    // The first response comes after the server's settings.
    assert_eq!(exchange(&mut sender, raw::init(false, &[])).await.code, Some(0));
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(sender.send_request(raw::init(true, &[])).await.unwrap());
    }
    let mut next = std::pin::pin!(sender.send_request(raw::init(false, &[])));
    let early = timeout(Duration::from_millis(300), &mut next).await;
    assert!(early.is_err(), "a stream beyond the limit was answered");
    drop(open.pop());
    let response = timeout(Duration::from_secs(10), next).await.expect("an answer").unwrap();
    assert_eq!(raw::read(response).await.code, Some(0));
}

#[tokio::test]
async fn idle_connection_is_closed_and_one_with_a_stream_is_not() {
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("idle = \"300ms\"")).await;
    let address = gateway.address("scix", "listen");
    let mut busy = connect(address, WIDE).await;
    let body = busy.send_request(raw::init(true, &[])).await.unwrap();
    let mut idle = connect(address, WIDE).await;
    assert_eq!(exchange(&mut idle, raw::init(false, &[])).await.code, Some(0));
    eventually("the idle connection to end", async || idle.is_closed().then_some(())).await;
    assert!(!busy.is_closed());
    drop(body);
    eventually("the other one to end", async || busy.is_closed().then_some(())).await;
}
