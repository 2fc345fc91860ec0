//! Clients that grant no flow control windows. Their HTTP/2 library still answers pings.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo};
use redcall_worker::{Json, Worker};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::CALL;
use crate::door::door;
use crate::raw::{self, Sender, connect, init_message, request};
use crate::support::{RunningGateway, RunningWorker, Stage};

/// Bytes of the text in each answer of `transform`.
const LARGE: usize = 1 << 20;

/// A worker whose answers are large, and a gateway.
async fn large_answers() -> (Stage, RunningWorker, RunningGateway) {
    let stage = Stage::new().await;
    let answer = async || {
        let text = "x".repeat(LARGE);
        Json(json!({"record_id": text, "record_data": null, "task": "SYMBOL1"}))
    };
    let worker = stage.worker(|worker: Worker| worker.handler("transform", answer)).await;
    let gateway = stage.gateway(&door("")).await;
    (stage, worker, gateway)
}

/// A client that grants this window to each of its streams, and no more, as it reads no response.
struct Greedy {
    connection: JoinHandle<hyper::Result<()>>,
    sender: Sender,
    responses: Vec<Response<Incoming>>,
}

impl Greedy {
    async fn with_window(address: SocketAddr, window: u32) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        Self { connection: tokio::spawn(connection), sender, responses: Vec::new() }
    }

    async fn call(&mut self) {
        let call = request(CALL, &[], init_message(false));
        self.responses.push(self.sender.send_request(call).await.unwrap());
    }
}

#[tokio::test]
async fn client_that_takes_no_response_is_disconnected() {
    let (_stage, _worker, gateway) = large_answers().await;
    let address = gateway.address("scix", "listen");
    let mut clients =
        [Greedy::with_window(address, 0).await, Greedy::with_window(address, 1).await];
    for client in &mut clients {
        for _ in 0..20 {
            client.call().await;
        }
    }
    for client in clients {
        let ended = timeout(Duration::from_secs(30), client.connection).await;
        let _ = ended.expect("the gateway ends the connection");
    }
    // Others go on.
    let mut other = connect(address, 1 << 20).await;
    assert_eq!(raw::exchange(&mut other, raw::init(false, &[])).await.code, Some(0));
}

#[tokio::test]
async fn drain_does_not_wait_for_a_client_that_takes_nothing() {
    let (_stage, _worker, gateway) = large_answers().await;
    let mut client = Greedy::with_window(gateway.address("scix", "listen"), 0).await;
    client.call().await;
    let begun = Instant::now();
    gateway.end().await.unwrap();
    // Less than worker.drain_timeout, 25 s.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
