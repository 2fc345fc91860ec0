//! A thousand clients at once.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

use crate::client::{Client, Received, TOKEN, kind, message, parse};
use crate::service;
use crate::support::allow_many_files;

const CLIENTS: usize = 1000;

/// Authenticates, waits until all clients have, and adds 1.
async fn add_one(address: SocketAddr, all: Arc<Barrier>) -> Received {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    let mut send = async |message: &[u8], answers: usize| {
        stream.write_all(message).await.unwrap();
        let mut last = (kind::ERROR, String::new());
        for _ in 0..answers {
            let mut frame = vec![0; 16];
            stream.read_exact(&mut frame).await.unwrap();
            let length: usize = std::str::from_utf8(&frame).unwrap().trim().parse().unwrap();
            frame.resize(16 + length, 0);
            stream.read_exact(&mut frame[16..]).await.unwrap();
            last = parse(&frame);
        }
        last
    };
    let token = format!(r#"{{"token":"{TOKEN}","await_response":true}}"#);
    let receipt = message(kind::OK, r#"{"message":"Received 'OK'"}"#);
    assert_eq!(send(&message(kind::AUTH, &token), 2).await.0, kind::OK);
    send(&receipt, 0).await;
    all.wait().await;
    let task = r#"{"command":"add","value_change":1,"await_response":true}"#;
    send(&message(kind::EXEC, task), 2).await
}

#[tokio::test]
async fn thousand_clients_are_answered_at_once() {
    allow_many_files();
    let (_stage, _worker, _gateway, address) = service::start("idle = \"5m\"").await;
    let mut first = Client::authenticated(address).await;
    first.initialize().await;
    let all = Arc::new(Barrier::new(CLIENTS));
    let answers = join_all((0..CLIENTS).map(|_| add_one(address, all.clone()))).await;
    let mut values: Vec<i64> = answers
        .into_iter()
        .map(|(kind, args)| {
            assert_eq!(kind, kind::OK, "{args}");
            serde_json::from_str::<serde_json::Value>(&args).unwrap()["answer"].as_i64().unwrap()
        })
        .collect();
    values.sort_unstable();
    // Each call has its place in the order of the instance.
    assert!(values.into_iter().eq(1001..=2000));
}
