//! Connecting, and being connected to: one application at a time, standby gateways.

use std::time::{Duration, Instant};

use redcall_testkit::eventually;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::raw::{Peer, result, server};
use crate::support::Stage;

const LISTEN: &str = "[gateways.apps]\nprotocol = \"pm\"\nlisten = \"127.0.0.1:0\"\n";

fn connect(address: &str) -> String {
    format!(
        "[gateways.pm]\nprotocol = \"pm\"\nconnect = \"{address}\"\n\
         serves = [\"graph_get\"]\nqueues = [\"browser\"]\n"
    )
}

#[tokio::test]
async fn further_applications_are_closed_while_one_is_connected() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let gateway = stage.gateway(LISTEN).await;
    let address = gateway.address("apps", "listen");
    let mut first = Peer::connect(address).await;
    first.call(1, "echo", json!(1)).await;
    for _ in 0..1000 {
        let mut further = Peer::connect(address).await;
        assert_eq!(further.next_text().await, None);
    }
    assert_eq!(first.call(2, "echo", json!(2)).await, result(2, "S", &json!(2)));
    drop(first);
    let next = eventually("the next application to be served", async || {
        let mut next = Peer::connect(address).await;
        next.request(1, "echo", "S", json!(3)).await;
        next.next_text().await
    })
    .await;
    assert!(next.contains(r#""result": 3"#), "{next}");
}

#[tokio::test]
async fn applications_of_two_gateways_share_the_queue() {
    let stage = Stage::new().await;
    let client = stage.client().await;
    let door = format!("{LISTEN}serves = [\"run\"]\nqueues = [\"pm\"]\nconcurrency = 1\n");
    let (first, second) = (stage.gateway(&door).await, stage.gateway(&door).await);
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(client.request("run").queue("pm").submit().await.unwrap().id);
    }
    // Neither is answered, so that each application has one of them.
    let mut peers = Vec::new();
    let mut sessions = Vec::new();
    for gateway in [&first, &second] {
        let mut peer = Peer::connect(gateway.address("apps", "listen")).await;
        sessions.push(peer.next().await["params"]["sid"].as_str().unwrap().to_owned());
        peers.push(peer);
    }
    ids.sort();
    sessions.sort();
    assert_eq!(sessions, ids);
}

#[tokio::test]
async fn gateway_dials_until_the_server_listens() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let (listener, address) = server().await;
    drop(listener);
    let log = "[log]\nformat = \"json\"\nlevel = \"debug\"\n";
    let program = stage.program(&format!("{}{log}", connect(&address)));
    program
        .logged("three attempts to connect", |_| {
            let lines = program.lines();
            let failed = lines.iter().filter(|line| line.contains("cannot connect")).count();
            (failed >= 3).then_some(())
        })
        .await;
    let listener = TcpListener::bind(&address).await.unwrap();
    let mut peer = Peer::accept(&listener).await;
    assert_eq!(peer.call(1, "echo", json!(1)).await["id"], 1);
    // It dials again after the end of a link.
    drop(peer);
    let mut peer = Peer::accept(&listener).await;
    assert_eq!(peer.call(1, "echo", json!(1)).await["id"], 1);
}

#[tokio::test]
async fn standby_gateway_takes_over_within_six_seconds() {
    let stage = Stage::new().await;
    let client = stage.client().await;
    let _worker = stage.worker(|worker| worker).await;
    let (listener, address) = server().await;
    // Refused while the first one is connected, as the real server does.
    let first = stage.gateway(&connect(&address)).await;
    let mut peer = Peer::accept(&listener).await;
    drop(listener);
    assert_eq!(peer.call(1, "echo", json!(1)).await["id"], 1);
    let standby = stage.gateway(&connect(&address)).await;
    let ticket = client.request("graph_get").queue("browser").submit().await.unwrap();
    let incoming = peer.next().await;
    peer.answer(&incoming, json!(1)).await;
    client.fetch(&ticket.response_key).await.unwrap();
    first.kill().await;
    let ended = Instant::now();
    assert_eq!(peer.next_text().await, None);
    let listener = TcpListener::bind(&address).await.unwrap();
    let mut peer = Peer::accept(&listener).await;
    assert!(ended.elapsed() < Duration::from_secs(6), "{:?}", ended.elapsed());
    assert_eq!(peer.call(1, "echo", json!(2)).await["id"], 1);
    drop(standby);
}

#[tokio::test]
async fn connection_that_is_soon_closed_gets_no_jobs() {
    let stage = Stage::new().await;
    let client = stage.client().await;
    let (listener, address) = server().await;
    let _first = stage.gateway(&connect(&address)).await;
    let (stream, _) = listener.accept().await.unwrap();
    let mut first = Peer::of(stream);
    let (closed, mut connections) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        // A busy server: it closes further connections, though not within a moment.
        while let Ok((mut stream, _)) = listener.accept().await {
            let read = timeout(Duration::from_millis(100), stream.read_u8()).await;
            assert!(read.is_err(), "a connection that is soon closed got a message");
            drop(stream);
            closed.send(()).unwrap();
        }
    });
    let _standby = stage.gateway(&connect(&address)).await;
    let (mut number, mut in_vain) = (0, 0);
    while in_vain < 3 {
        let call = client.request("graph_get").queue("browser").data(&json!({"number": number}));
        let call = tokio::spawn(call.wait());
        let incoming = first.next().await;
        first.answer(&incoming, json!(number)).await;
        assert_eq!(call.await.unwrap().unwrap().data.get(), number.to_string());
        number += 1;
        in_vain += usize::from(connections.try_recv().is_ok());
    }
}
