//! Calls that are open when the program ends.

use std::time::{Duration, Instant};

use redcall_testkit::eventually;
use redcall_worker::{Request, Worker};
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::{Program, RunningWorker, Stage};

/// Its calls have much more time than the test.
const DOOR: &str = "[gateways.apps]\nprotocol = 'pm'\nlisten = '127.0.0.1:0'\ntimeout = '300s'\n";

/// A program with a call that runs, and one that waits in its queue.
struct Open {
    stage: Stage,
    program: Program,
    _worker: RunningWorker,
    /// Of the call that runs.
    cancelled: UnboundedReceiver<()>,
    peer: TcpStream,
}

async fn open(settings: &str) -> Open {
    let stage = Stage::new().await;
    let (sender, cancelled) = unbounded_channel();
    let (started, mut starts) = unbounded_channel();
    let job = move |worker: Worker| {
        worker.handler("endless", move |request: Request| {
            let (sender, started) = (sender.clone(), started.clone());
            async move {
                started.send(()).unwrap();
                request.cancelled().await;
                sender.send(()).unwrap();
            }
        })
    };
    let mut of_worker = stage.settings("");
    of_worker.worker.concurrency = 1;
    let worker = stage.worker_of(of_worker, job).await;
    let program = stage.program(&format!("{settings}{DOOR}"));
    let mut peer = TcpStream::connect(program.address("apps", "listen").await).await.unwrap();
    for id in 1..=2 {
        let params = json!({"sid": "S", "params": {}});
        let request = json!({"jsonrpc": "2.0", "id": id, "method": "endless", "params": params});
        let request = request.to_string();
        peer.write_u32(u32::try_from(request.len()).unwrap()).await.unwrap();
        peer.write_all(request.as_bytes()).await.unwrap();
    }
    starts.recv().await.unwrap();
    let client = stage.client().await;
    eventually("one call to run and one to wait", async || {
        let queue = client.inspect().queue("default").await.ok()?;
        (queue.running == 1 && queue.length == 1).then_some(())
    })
    .await;
    Open { stage, program, _worker: worker, cancelled, peer }
}

/// Waits for the end of the program, and for that of both calls.
async fn withdrawn(open: Open) {
    let Open { stage, program, mut cancelled, mut peer, .. } = open;
    let (status, log) = tokio::task::spawn_blocking(|| program.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0), "{log:?}");
    let mut rest = Vec::new();
    let _ = peer.read_to_end(&mut rest).await;
    let end = tokio::time::timeout(Duration::from_secs(30), cancelled.recv()).await;
    assert_eq!(end.expect("the call that runs is cancelled"), Some(()));
    let client = stage.client().await;
    eventually("the call that waits to end", async || {
        let queue = client.inspect().queue("default").await.ok()?;
        (queue.running == 0 && queue.length == 0).then_some(())
    })
    .await;
    assert!(cancelled.try_recv().is_err(), "the call that waited has run");
}

#[tokio::test]
async fn calls_that_outlast_the_drain_are_withdrawn() {
    let open = open("[worker]\ndrain_timeout = '1s'\n").await;
    open.program.signal(Signal::TERM);
    withdrawn(open).await;
}

#[tokio::test]
async fn second_signal_ends_the_drain_at_once_and_withdraws_open_calls() {
    let open = open("[worker]\ndrain_timeout = '60s'\n").await;
    let begun = Instant::now();
    open.program.signal(Signal::TERM);
    open.program
        .logged("the first signal", |line| (line["message"] == "signal received").then_some(()))
        .await;
    open.program.signal(Signal::INT);
    withdrawn(open).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}
