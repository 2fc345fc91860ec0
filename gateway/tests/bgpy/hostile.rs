//! Inputs that end their connection at most.

use std::net::SocketAddr;

use futures_util::future::join_all;
use serde_json::Value;

use crate::client::{Client, frame, kind, message, pickle};
use crate::service;
use crate::support::{Stage, metrics};
use redcall_testkit::unhex;

const REFUSE: &str = include_str!("../vectors/bgpy/refuse.json");

/// A connection from before that goes on, and a new one.
async fn assert_served(old: &mut Client, address: SocketAddr) {
    for client in [old, &mut Client::authenticated(address).await] {
        let (kind, args) = client.execute(r#""command":"none""#).await;
        assert_eq!((kind, args.as_str()), (kind::OK, r#"{"await_response":false}"#));
    }
}

#[tokio::test]
async fn hostile_inputs_end_their_connection_only() {
    let (_stage, _worker, _gateway, address) = service::start(r#"idle = "60s""#).await;
    let inputs: Vec<Value> = serde_json::from_str(REFUSE).unwrap();
    assert_eq!(inputs.len(), 24);
    let mut other = Client::authenticated(address).await;
    other.initialize().await;
    for input in &inputs {
        eprintln!("{}", input["is"]);
        let bytes = unhex(input["bytes_hex"].as_str().unwrap());
        for authenticated in [false, true] {
            let mut client = Client::connect(address).await;
            if authenticated {
                client.authenticate().await;
            }
            client.send(&bytes).await;
            // A header or a frame that is cut off.
            client.finish().await;
            let rest = client.closed().await;
            assert!(authenticated || rest.is_empty() || input["is"] == "a token that is a number");
        }
    }
    assert_served(&mut other, address).await;
}

#[tokio::test]
async fn message_before_the_token_is_not_answered() {
    let (_stage, _worker, _gateway, address) = service::start("").await;
    for (kind, args) in [(kind::EXEC, "{}"), (kind::EXIT, "{}"), (kind::OK, "{}")] {
        let mut client = Client::connect(address).await;
        client.send(&message(kind, args)).await;
        assert_eq!(client.closed().await, b"");
    }
    // 4 KiB are enough for a token.
    let mut client = Client::connect(address).await;
    let token = "x".repeat(4 << 10);
    client.send(&message(kind::AUTH, &format!(r#"{{"token":"{token}"}}"#))).await;
    assert_eq!(client.closed().await, b"");
}

#[tokio::test]
async fn wrong_token_is_answered_and_closed() {
    let (_stage, _worker, _gateway, address) = service::start("").await;
    for token in [r#""wrong""#, "null", r#""""#, "5", r#""tok-0123456789 ""#] {
        let mut client = Client::connect(address).await;
        client.send(&message(kind::AUTH, &format!(r#"{{"token":{token}}}"#))).await;
        client.receives(kind::OK, r#"{"message":"Received 'AUTH'"}"#).await;
        let error = r#"{"message":"Invalid client authentication.","await_response":false}"#;
        client.receives(kind::ERROR, error).await;
        client.receipt("ERROR").await;
        assert_eq!(client.closed().await, b"");
    }
}

#[tokio::test]
async fn arguments_that_are_not_plain_are_answered_by_errors() {
    let (_stage, _worker, _gateway, address) = service::start("").await;
    let mut client = Client::authenticated(address).await;
    client.initialize().await;
    // Without the ends of the message's dict, of its tuple, of the object, of the pickle.
    let start = pickle(kind::EXEC, |writer| {
        writer.dict();
    });
    let start = &start[..start.len() - 4];
    let with_reference = |waits: &[u8]| {
        let args =
            [&b"X\x01\0\0\0fcos\nsystem\nX\x0e\0\0\0await_response"[..], waits, b"u"].concat();
        frame(&[start, &args, b"u\x86b."].concat())
    };
    client.send(&with_reference(b"\x89")).await;
    let message = "JSON does not have this value: a reference";
    let error =
        format!(r#"{{"message":"{message}","code":"invalid_data","await_response":false}}"#);
    client.receives(kind::ERROR, &error).await;
    client.send(&with_reference(b"\x88")).await;
    client.receives(kind::OK, r#"{"message":"Received 'EXEC'"}"#).await;
    client.receives(kind::ERROR, &error).await;
    client.receipt("ERROR").await;

    // Bytes: it cannot be read whether the client waits, so both messages are the error.
    let bytes = [start, b"X\x01\0\0\0bC\x01xuu\x86b."].concat();
    client.send(&frame(&bytes)).await;
    for _ in 0..2 {
        let (kind, args) = client.receive().await;
        assert_eq!(kind, kind::ERROR);
        assert!(args.contains("instruction 0x43"), "{args}");
    }
    client.receipt("ERROR").await;
    assert_eq!(client.closed().await, b"");
}

/// Prints its figures.
#[tokio::test]
async fn hostile_messages_need_bounded_memory() {
    let stage = Stage::new().await;
    let _worker = service::worker(&stage).await;
    let gateway = stage.program(&service::door("idle = \"60s\""));
    let address = gateway.address("counter", "listen").await;
    let mut other = Client::authenticated(address).await;
    other.initialize().await;
    let (idle, mut max) = (gateway.rss(), 0);

    // Frames that do not come to their end, before the token.
    let mut silent = Vec::new();
    for _ in 0..200 {
        let mut client = Client::connect(address).await;
        client.send(format!("{:<16}{}", 4096, "A".repeat(4095)).as_bytes()).await;
        silent.push(client);
    }
    // The largest messages, after it: each part is repeated up to the bound.
    for part in [&b"]"[..], b"(", b")\x94", b"]\x85"] {
        let pickle = [b"\x80\x04", &*part.repeat((1 << 20) / part.len()), b"."].concat();
        let bytes = frame(&pickle);
        let sent = (0..2).map(async |_| {
            let mut client = Client::authenticated(address).await;
            client.send(&bytes).await;
            assert_eq!(client.receive().await.0, kind::ERROR);
            gateway.rss()
        });
        max = join_all(sent).await.into_iter().max().unwrap_or_default().max(max);
    }
    eprintln!("RSS: {} MiB idle, {} MiB at most", idle >> 20, max >> 20);
    assert!(max < 256 << 20, "{} MiB", max >> 20);
    assert_served(&mut other, address).await;
}

#[tokio::test]
async fn silent_connection_is_closed() {
    let (_stage, _worker, _gateway, address) = service::start(r#"idle = "300ms""#).await;
    assert_eq!(Client::connect(address).await.closed().await, b"");
    let mut slow = Client::authenticated(address).await;
    slow.send(b"100             AAAA").await;
    assert_eq!(slow.closed().await, b"");
}

#[tokio::test]
async fn message_over_the_limit_is_answered_by_errors() {
    let (_stage, _worker, _gateway, address) = service::start("message = \"64KiB\"").await;
    let mut other = Client::authenticated(address).await;
    other.initialize().await;
    let data = "x".repeat(200 << 10);
    let large = message(kind::EXEC, &format!(r#"{{"x":"{data}","await_response":true}}"#));
    let mut client = Client::authenticated(address).await;
    client.send(&large).await;
    for _ in 0..2 {
        let (kind, args) = client.receive().await;
        assert_eq!(kind, kind::ERROR);
        assert!(args.contains(r#""code":"too_large""#), "{args}");
    }
    client.receipt("ERROR").await;
    assert_eq!(client.closed().await, b"");
    // One that is never sent whole.
    let mut client = Client::authenticated(address).await;
    client.send(&large[..100 << 10]).await;
    assert_eq!(client.receive().await.0, kind::ERROR);
    drop(client);
    assert_served(&mut other, address).await;
}

/// A client that resets its connection as soon as it has sent.
#[tokio::test]
async fn malformed_message_of_a_client_that_has_gone_is_counted() {
    let more = "[admin]\nlisten = \"127.0.0.1:0\"";
    let (_stage, _worker, gateway, address) = service::start(more).await;
    let probes = gateway.probes();
    for number in 1..=3 {
        let mut client = Client::authenticated(address).await;
        client.send(&frame(b"not a pickle")).await;
        client.reset();
        redcall_testkit::eventually("the message to be counted", async || {
            let label = r#"redcall_gateway_refused_total{gateway="counter",why="malformed"}"#;
            let line = format!("{label} {number}");
            metrics(probes).await.lines().any(|found| found == line).then_some(())
        })
        .await;
    }
}
