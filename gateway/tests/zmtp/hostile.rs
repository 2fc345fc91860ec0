//! Hostile input ends its connection, and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests, which clippy cannot tell"
)]

use redcall_gateway::zmtp::wire::{SocketType, encode, greeting};
use redcall_testkit::eventually;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::lab::{door, jobs};
use crate::peers::{Raw, closes};
use crate::support::Stage;

/// Greeting and READY of a peer of this type, then `more`.
fn peer(socket: &str, more: &[u8]) -> Vec<u8> {
    let length = u8::try_from(socket.len()).unwrap();
    let ready = [&[4, 22 + length][..], b"\x05READY\x0bSocket-Type\0\0\0", &[length]].concat();
    [&greeting::write()[..], &ready, socket.as_bytes(), more].concat()
}

/// Every input that must end its connection: for the REP socket, and for the PUB socket.
fn inputs() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let changed = |index: usize, byte: u8| {
        let mut bytes = peer("REQ", b"");
        bytes[index] = byte;
        bytes
    };
    let huge = [&[2][..], &[0x7f; 8], &[0; 1 << 16]].concat();
    let over =
        |socket: &str| peer(socket, &[&[2, 0, 0, 0, 0, 0x10, 0, 0, 0][..], &[0; 64]].concat());
    let part = [&[3][..], &(1_u64 << 19).to_be_bytes(), &vec![0; 1 << 19]].concat();
    let filters = (0..2000_u32).flat_map(|n| encode::subscribe(&n.to_le_bytes(), 1));
    let rep = vec![
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(),
        changed(0, 0),
        changed(9, 0),
        changed(10, 1),
        changed(12, b'C'),
        changed(20, b'X'),
        [&greeting::write()[..], &[0, 1, 0]].concat(),
        [&greeting::write()[..], &[0xff; 100]].concat(),
        [&greeting::write()[..], b"\x04\x00"].concat(),
        [&greeting::write()[..], b"\x04\x06\x05READY"].concat(),
        [&greeting::write()[..], b"\x04\x16\x05READY\x0bSocket-Type\xff\xff\xff\xff"].concat(),
        [&greeting::write()[..], b"\x06\0\0\0\0\x40\0\0\0"].concat(),
        peer("SUB", b""),
        peer("ROUTER", b""),
        peer("", b""),
        peer("REQ", &[0x08, 0]),
        peer("REQ", &[0xf0, 0]),
        peer("REQ", &[5, 0]),
        peer("REQ", &huge),
        over("REQ"),
        peer("REQ", &part.repeat(4)),
        peer("REQ", &[1, 0].repeat(1000)),
        peer("REQ", b"\x04\x0b\x09SUBSCRIBEa"),
        peer("REQ", b"\x04\x06\x04PING\0"),
        peer("DEALER", b"\x04\x07\x05ERROR\0"),
    ];
    let publisher = vec![
        peer("REQ", b""),
        peer("PUB", b""),
        over("SUB"),
        peer("XSUB", &[&[2, 0, 0, 0, 0, 0, 1, 0, 0, 1][..], &[0; 64]].concat()),
        peer("SUB", &filters.collect::<Vec<u8>>()),
        peer("SUB", &huge),
        peer("SUB", &[8, 0]),
    ];
    (rep, publisher)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_input_ends_its_connection_in_bounded_memory() {
    let stage = Stage::new().await;
    let (sender, _notes) = tokio::sync::mpsc::unbounded_channel();
    let _worker = stage.worker(|worker| jobs(worker, sender)).await;
    let program = stage.program(&door("message = \"1MiB\""));
    let commands = program.address("lab", "listen_commands").await;
    let events = program.address("lab", "listen_events").await;
    let mut console = Raw::connect(commands, SocketType::Req).await;
    let mut subscriber = Raw::subscriber(events).await;
    assert_eq!(console.request(r#"{"command": 110, "data": 0}"#).await["data"], 0);
    let before = program.rss();
    let mut held = Vec::new();
    for round in 0..3_u32 {
        let (rep, publisher) = inputs();
        for input in &rep {
            closes(commands, input).await;
        }
        for input in &publisher {
            closes(events, input).await;
        }
        // Connections that send nothing, or half of something, and stay.
        for _ in 0..50 {
            let mut half = TcpStream::connect(commands).await.unwrap();
            let large = [&[2, 0, 0, 0, 0, 0, 0x0f, 0, 0][..], &[0; 5000]].concat();
            half.write_all(&peer("REQ", &large)).await.unwrap();
            held.push(half);
            held.push(TcpStream::connect(events).await.unwrap());
        }
        let reply = console.request(format!(r#"{{"command": 110, "data": {round}}}"#)).await;
        assert_eq!(reply["data"], round);
    }
    let client = stage.client().await;
    client.publish("property_change", redcall_client::Kind(5), "still").await.unwrap();
    assert!(subscriber.event_of(5001).await.1.contains("\"still\""));
    let grown = program.rss().saturating_sub(before);
    println!("the gateway's memory has grown by {} KiB", grown / 1024);
    assert!(grown < 32 << 20, "{grown} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_are_served_and_one_more_is_closed() {
    let stage = Stage::new().await;
    let (sender, _notes) = tokio::sync::mpsc::unbounded_channel();
    let _worker = stage.worker(|worker| jobs(worker, sender)).await;
    let gateway = stage.gateway(&door("connections = 1000")).await;
    let commands = gateway.address("lab", "listen_commands");
    let mut consoles = Vec::new();
    for _ in 0..1000 {
        consoles.push(Raw::connect(commands, SocketType::Req).await);
    }
    closes(commands, &encode::opening(SocketType::Req)).await;
    for (number, console) in consoles.iter_mut().enumerate() {
        console.send(format!(r#"{{"command": 110, "data": {number}}}"#)).await;
    }
    for (number, console) in consoles.iter_mut().enumerate() {
        let reply = console.reply().await;
        assert!(reply.contains(&format!("\"data\": {number},")), "{reply}");
    }
    drop(consoles.pop());
    eventually("room for one more", async || {
        let mut stream = TcpStream::connect(commands).await.ok()?;
        stream.write_all(&encode::opening(SocketType::Req)).await.ok()?;
        use tokio::io::AsyncReadExt as _;
        (stream.read(&mut [0; 1]).await.ok()? == 1).then_some(())
    })
    .await;
}
