//! Hostile HTTP/2, byte by byte: it costs its connection at most, while another one goes on.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{GrpcClient, INIT, monitor, record};
use crate::door::{door, template};
use crate::python::python;
use crate::support::Stage;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header as a literal without an index.
fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// The headers of a call.
fn call_headers() -> Vec<u8> {
    [
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", INIT),
        header(":authority", "localhost"),
        header("content-type", "application/grpc"),
        header("te", "trailers"),
    ]
    .concat()
}

/// The start of a connection.
fn start() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// A hostile input: its name, and the bytes of a whole connection.
type Input = (&'static str, Vec<u8>);

/// A connection that begins well.
fn after_start(bytes: Vec<u8>) -> Vec<u8> {
    [start(), bytes].concat()
}

/// The start of a call on a stream.
fn open(flags: u8, stream: u32) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &call_headers())
}

fn many(count: u32, of: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(of).collect()
}

/// All inputs.
fn inputs() -> Vec<Input> {
    [of_other_protocols(), of_frames(), of_headers(), of_floods(), of_messages()].concat()
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
    let large = [&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1][..], &[0; 99]].concat();
    let window = frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]);
    let padding = frame(DATA, 8, 1, &[200, 0, 0]);
    vec![
        ("a frame of 16 MiB", after_start(large)),
        ("a window that overflows", after_start(window.repeat(2))),
        ("a window of no bytes", after_start(frame(WINDOW_UPDATE, 0, 0, &[0; 4]))),
        ("data of a stream that is not open", after_start(frame(DATA, 0, 5, &[0; 100]))),
        ("data of the connection", after_start(frame(DATA, 0, 0, &[0; 100]))),
        ("a stream of the server", after_start(open(END_STREAM, 2))),
        ("padding without data", after_start([open(0, 1), padding].concat())),
    ]
}

fn of_headers() -> Vec<Input> {
    let entry = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'v'; 4000]].concat();
    let bomb = [entry, vec![0xbe; 10_000]].concat();
    let block = header("x", &"v".repeat(100)).repeat(100);
    let endless = many(3000, |_| frame(CONTINUATION, 0, 1, &block));
    let empty = many(20_000, |_| frame(CONTINUATION, 0, 1, &[]));
    let begin = |block: &[u8]| frame(HEADERS, 0, 1, block);
    vec![
        ("an index of no header", after_start(frame(HEADERS, 5, 1, &[0x80]))),
        ("an endless number", after_start(frame(HEADERS, 5, 1, &[0xff; 64]))),
        ("few bytes for 40 MB of headers", after_start(frame(HEADERS, 5, 1, &bomb))),
        ("headers without an end", after_start([begin(&call_headers()), endless].concat())),
        ("empty continuations", after_start([begin(&[]), empty].concat())),
    ]
}

fn of_floods() -> Vec<Input> {
    let reset = |stream| frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    let resets = many(20_000, |n| [open(0, 2 * n + 1), reset(2 * n + 1)].concat());
    vec![
        ("streams that are reset", after_start(resets)),
        ("streams without an end", after_start(many(2000, |n| open(0, 2 * n + 1)))),
        ("20,000 settings", after_start(many(20_000, |_| frame(SETTINGS, 0, 0, &[])))),
        ("20,000 pings", after_start(many(20_000, |_| frame(PING, 0, 0, &[7; 8])))),
    ]
}

fn of_messages() -> Vec<Input> {
    let zeros = many(200, |_| frame(DATA, 0, 1, &[0; 16_384]));
    let empty = many(20_000, |_| frame(DATA, 0, 1, &[]));
    let large = frame(DATA, 0, 1, &[0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
    let half = [&[0, 0, 0x3f, 0, 0][..], &[1; 8000]].concat();
    let halves = many(100, |n| [open(0, 2 * n + 1), frame(DATA, 0, 2 * n + 1, &half)].concat());
    vec![
        ("data over the window", after_start([open(0, 1), zeros].concat())),
        ("empty data frames", after_start([open(0, 1), empty].concat())),
        ("a message of 4 GiB", after_start([open(0, 1), large].concat())),
        ("half a message on each of 100 streams", after_start(halves)),
    ]
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
    let mut job = None;
    let build = |worker| {
        let (worker, template) = template(worker);
        job = Some(template);
        worker
    };
    let _worker = stage.worker(build).await;
    job.unwrap().end_one();
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
    let open = frame(HEADERS, END_HEADERS, 1, &call_headers());
    let half = frame(DATA, 0, 1, &[0, 0, 0, 0, 30, 1, 2]);
    let answer = answer_of(address, &[start(), open, half].concat()).await;
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
