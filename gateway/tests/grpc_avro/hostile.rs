//! Hostile HTTP/2, byte by byte: it costs its connection at most, while another one goes on.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{GrpcClient, INIT, monitor, record};
use crate::door::{door, worker};
use crate::http2::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM, WINDOW_UPDATE, call, floods,
    frame, start,
};
use crate::python::python;
use crate::support::Stage;

/// A hostile input: its name, and the bytes of a whole connection.
type Input = (&'static str, Vec<u8>);

/// The start of a call on a stream.
fn open(flags: u8, stream: u32) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &call(INIT))
}

/// All inputs.
fn inputs() -> Vec<Input> {
    [of_other_protocols(), of_frames(), floods(INIT)].concat()
}

fn of_other_protocols() -> Vec<Input> {
    vec![
        ("nothing", vec![]),
        ("HTTP/1.1", b"POST /a/b HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("a TLS greeting", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
        ("zeros", vec![0; 100_000]),
        ("half of the preface", PREFACE[..10].to_vec()),
        ("noise after the preface", [PREFACE, &[0xa5; 100_000]].concat()),
    ]
}

fn of_frames() -> Vec<Input> {
    let padding = frame(DATA, 8, 1, &[200, 0, 0]);
    let inputs = vec![
        ("a window of no bytes", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("data of a stream that is not open", frame(DATA, 0, 5, &[0; 100])),
        ("data of the connection", frame(DATA, 0, 0, &[0; 100])),
        ("a stream of the server", open(END_STREAM, 2)),
        ("padding without data", [open(0, 1), padding].concat()),
        ("an index of no header", frame(HEADERS, 5, 1, &[0x80])),
        ("an endless number", frame(HEADERS, 5, 1, &[0xff; 64])),
    ];
    inputs.into_iter().map(|(name, bytes)| (name, start(&[], &bytes))).collect()
}

/// Sends bytes, then nothing more, and reads what comes. Ends when the server ends, or after a
/// while: a connection that costs nothing may stay.
async fn send(address: SocketAddr, bytes: &[u8]) {
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let writing = async {
        // A server that has closed the connection takes no more.
        if write.write_all(bytes).await.is_ok() {
            let _ = write.shutdown().await;
        }
    };
    let reading = async {
        let mut sink = Vec::new();
        let _ = read.read_to_end(&mut sink).await;
    };
    let both = timeout(Duration::from_secs(10), async { tokio::join!(writing, reading) });
    assert!(both.await.is_ok(), "the connection did not end");
}

#[tokio::test]
async fn hostile_connections_end_and_others_go_on() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let program = stage.program(&door("timeout = \"3s\""));
    let address = program.address("scix", "listen").await;
    let mut follower = GrpcClient::of(&python, address);
    follower.begin(json!({"path": INIT, "record": record(true)})).await;
    let id = follower.record().await["hash"].as_str().unwrap().to_owned();
    let mut client = GrpcClient::of(&python, address);
    let pending = (vec!["Pending".to_owned()], "OK".to_owned());
    assert_eq!(client.states(monitor(&id, false)).await, pending);
    let before = program.rss();
    for (is, bytes) in inputs() {
        send(address, &bytes).await;
        assert_eq!(client.states(monitor(&id, false)).await, pending, "after {is}");
    }
    // None of them is read by its peer.
    let unread = inputs().into_iter().map(async |(_, bytes)| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A server whose answers are not read takes no more.
        let _ = timeout(Duration::from_secs(1), stream.write_all(&bytes)).await;
        stream
    });
    let _unread = futures_util::future::join_all(unread).await;
    assert_eq!(client.states(monitor(&id, false)).await, pending);
    let after = program.rss();
    println!("memory: {} KiB before, {} KiB after", before >> 10, after >> 10);
    assert!(after.saturating_sub(before) < 64 << 20, "{before} {after}");
    let (_worker, job) = worker(&stage).await;
    job.end_one();
    assert_eq!(follower.state().await, "Processing");
    assert_eq!(follower.state().await, "Success");
    assert_eq!(follower.code().await, "OK");
}

/// Sends the bytes of a client, and reads up to the end of stream 1, or of the connection.
pub(crate) async fn answer_of(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let reading = async {
        while !frames(&answer).any(|(kind, flags, stream, _)| {
            stream == 1 && (kind == RST_STREAM || kind <= HEADERS && flags & END_STREAM != 0)
        }) {
            if stream.read_buf(&mut answer).await.unwrap() == 0 {
                break;
            }
        }
    };
    timeout(Duration::from_secs(10), reading).await.expect("the stream ends");
    answer
}

/// A call whose message does not come whole: returns the bytes of its end.
pub(crate) async fn half_a_request(address: SocketAddr) -> Vec<u8> {
    let half = frame(DATA, 0, 1, &[0, 0, 0, 0, 30, 1, 2]);
    let answer = answer_of(address, &start(&[], &[open(0, 1), half].concat())).await;
    let end = frames(&answer).find(|(kind, _, stream, _)| *stream == 1 && *kind == HEADERS);
    end.expect("a response").3.to_vec()
}

/// The frames in the bytes of a server: kind, flags, stream, payload.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = (u8, u8, u32, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<9>()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (payload, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap()) & 0x7fff_ffff;
        Some((head[3], head[4], stream, payload))
    })
}

/// The messages of stream 1, in their frames.
pub(crate) fn data_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let data = frames(bytes).filter(|(kind, _, stream, _)| (*kind, *stream) == (DATA, 1));
    let all: Vec<u8> = data.flat_map(|(_, _, _, payload)| payload.to_vec()).collect();
    let (mut rest, mut messages) = (&all[..], Vec::new());
    while let Some(head) = rest.first_chunk::<5>() {
        let length = 5 + u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let (message, more) = rest.split_at(length);
        messages.push(message.to_vec());
        rest = more;
    }
    messages
}
