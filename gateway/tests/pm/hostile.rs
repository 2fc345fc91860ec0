//! Inputs that no well-behaved peer sends, and peers that do not read.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::raw::{Peer, result, server};
use crate::support::{Program, Stage};

#[derive(Deserialize)]
struct Input {
    is: String,
    bytes_hex: String,
}

impl Input {
    fn all() -> Vec<Self> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/pm/refuse.json");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        redcall_testkit::unhex(&self.bytes_hex)
    }
}

/// The door's reaction to each input of the vectors.
enum Reaction {
    /// The connection is closed.
    Closed,
    /// An error with this code and id null is sent, and the connection is closed.
    Refused(i64),
    /// The request is answered with this code.
    Answered(i64),
    /// Nothing; more bytes may follow.
    Ignored,
}

use Reaction::{Answered, Closed, Ignored, Refused};

const REACTIONS: [(&str, Reaction); 21] = [
    ("4 GiB - 1", Closed),
    ("2 GiB - 1 and 100 bytes of it", Closed),
    ("invalid JSON", Refused(-32700)),
    ("invalid UTF-8", Refused(-32700)),
    ("an empty frame", Refused(-32700)),
    ("an empty batch", Refused(-32600)),
    ("a batch", Refused(-32600)),
    ("a text", Refused(-32600)),
    ("a number", Refused(-32600)),
    ("null", Refused(-32600)),
    ("a method that is a number", Refused(-32600)),
    ("an answer to nothing", Ignored),
    ("an id that is an object", Ignored),
    ("100,000 brackets", Refused(-32700)),
    ("an HTTP request", Closed),
    ("half a header", Ignored),
    ("a sid that is a number", Answered(-32601)),
    ("params that are a list", Answered(-32601)),
    ("no params", Answered(-32601)),
    ("another version", Refused(-32600)),
    ("a member twice", Refused(-32600)),
];

const DOORS: &str = "[gateways.apps]\nprotocol = \"pm\"\nlisten = \"127.0.0.1:0\"\n\
    serves = [\"run\"]\nqueues = [\"pm\"]\n\
    [gateways.good]\nprotocol = \"pm\"\nlisten = \"127.0.0.1:0\"\n";

/// The most memory that hostile inputs may cost, bytes. Applications that connect cost some, since
/// each has a worker of its own.
const MEMORY: u64 = 128 << 20;

async fn goes_on(good: &mut Peer, number: u64) {
    let data = json!({"number": number});
    assert_eq!(good.call(number, "echo", data.clone()).await, result(number, "S", &data));
}

fn bounded(program: &Program, before: u64) {
    let after = program.rss();
    println!("RSS of the gateway: {} KiB before, {} KiB after", before >> 10, after >> 10);
    assert!(after < before + MEMORY, "{before} bytes became {after}");
}

fn code_of(message: &str) -> (i64, Value) {
    let message: Value = serde_json::from_str(message).unwrap();
    (message["error"]["code"].as_i64().unwrap(), message["id"].clone())
}

#[tokio::test]
async fn hostile_input_costs_one_connection_at_most() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let program = stage.program(DOORS);
    let mut good = Peer::connect(program.address("good", "listen").await).await;
    let address = program.address("apps", "listen").await;
    goes_on(&mut good, 1).await;
    let before = program.rss();
    for (number, (input, (name, reaction))) in Input::all().iter().zip(REACTIONS).enumerate() {
        assert_eq!(input.is, name);
        // The link before may not have ended yet; then this one is closed at once.
        let mut bad = connected(&program, address).await;
        bad.write(&input.bytes()).await;
        match reaction {
            Closed => assert_eq!(bad.end().await, Vec::<String>::new(), "{name}"),
            Refused(code) => {
                let messages = bad.end().await;
                assert_eq!(messages.len(), 1, "{name}: {messages:?}");
                assert_eq!(code_of(&messages[0]), (code, json!(null)), "{name}");
            }
            Answered(code) => {
                let message = bad.next_text().await.unwrap();
                assert_eq!(code_of(&message), (code, json!(1)), "{name}");
            }
            Ignored => {}
        }
        goes_on(&mut good, u64::try_from(number).unwrap() + 2).await;
    }
    bounded(&program, before);
}

/// Connects as the one application of the door: waits until the link before has ended.
async fn connected(program: &Program, address: std::net::SocketAddr) -> Peer {
    let lines = || {
        let lines = program.lines();
        let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        (count("an application has connected"), count("a link has ended"))
    };
    redcall_testkit::eventually("the earlier links to end", async || {
        let (begun, ended) = lines();
        (begun == ended + 1).then_some(())
    })
    .await;
    let (begun, _) = lines();
    let peer = Peer::connect(address).await;
    redcall_testkit::eventually("the link to begin", async || {
        (lines().0 == begun + 1).then_some(())
    })
    .await;
    peer
}

#[tokio::test]
async fn dialling_gateway_survives_every_hostile_input() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let (listener, address) = server().await;
    let door = format!(
        "[gateways.pm]\nprotocol = \"pm\"\nconnect = \"{address}\"\nanswers = \"plain\"\n\
         [gateways.good]\nprotocol = \"pm\"\nlisten = \"127.0.0.1:0\"\n"
    );
    let program = stage.program(&door);
    let mut good = Peer::connect(program.address("good", "listen").await).await;
    let mut bad = Peer::accept(&listener).await;
    goes_on(&mut good, 1).await;
    let before = program.rss();
    for (number, (input, (name, reaction))) in Input::all().iter().zip(REACTIONS).enumerate() {
        assert_eq!(input.is, name);
        bad.write(&input.bytes()).await;
        match reaction {
            Closed => {
                assert_eq!(bad.end().await, Vec::<String>::new(), "{name}");
                bad = Peer::accept(&listener).await;
            }
            Answered(code) => {
                // Bare until the peer has used a session.
                let message = bad.next_text().await.unwrap();
                let message: Value = serde_json::from_str(&message).unwrap();
                let error = &message["error"];
                let error = if error["sid"].is_null() { error } else { &error["error"] };
                assert_eq!((&error["code"], &message["id"]), (&json!(code), &json!(1)), "{name}");
            }
            Refused(_) => {
                // Dropped: the link goes on.
                let answer = bad.call(2, "echo", json!({})).await;
                assert_eq!(answer["result"]["result"], json!({}), "{name}");
            }
            Ignored if name == "half a header" => {
                drop(bad);
                bad = Peer::accept(&listener).await;
            }
            Ignored => {}
        }
        goes_on(&mut good, u64::try_from(number).unwrap() + 2).await;
    }
    bounded(&program, before);
}

#[tokio::test]
async fn data_beyond_redcalls_values_leave_the_link_open() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let gateway = stage.gateway(DOORS).await;
    let mut peer = Peer::connect(gateway.address("apps", "listen")).await;
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    for data in [r#""\ud800""#, &deep] {
        let params = format!(r#"{{"sid": "S", "params": {data}}}"#);
        let call = r#""jsonrpc": "2.0", "id": 1, "method": "echo""#;
        peer.send_text(&format!(r#"{{{call}, "params": {params}}}"#)).await;
        let answer = peer.next().await;
        assert_eq!((&answer["id"], &answer["error"]["error"]["code"]), (&json!(1), &json!(-32602)));
    }
    goes_on(&mut peer, 2).await;
}

#[tokio::test]
async fn peer_that_does_not_read_is_disconnected_and_holds_up_no_other() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let program = stage.program(DOORS);
    let mut good = Peer::connect(program.address("good", "listen").await).await;
    goes_on(&mut good, 1).await;
    let before = program.rss();
    let mut slow = Peer::connect_small(program.address("apps", "listen").await).await;
    // More than the buffers of the system hold.
    let large = "x".repeat(1 << 20);
    for id in 0..8 {
        slow.request(id, "echo", "S", json!(large)).await;
    }
    let (begun, mut number) = (Instant::now(), 2);
    while !program.lines().iter().any(|line| line.contains("does not read")) {
        goes_on(&mut good, number).await;
        number += 1;
        assert!(begun.elapsed() < Duration::from_secs(40), "the slow peer is still connected");
    }
    bounded(&program, before);
}

#[tokio::test]
async fn link_without_messages_ends_after_idle() {
    let stage = Stage::new().await;
    let keys = "[gateways.apps]\nprotocol = \"pm\"\nlisten = \"127.0.0.1:0\"\nidle = \"100ms\"\n";
    let gateway = stage.gateway(keys).await;
    let mut peer = Peer::connect(gateway.address("apps", "listen")).await;
    assert_eq!(peer.next_text().await, None);
}
