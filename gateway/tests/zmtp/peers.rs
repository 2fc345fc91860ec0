//! Foreign peers: Python programs with libzmq, and connections whose bytes a test writes itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests, which clippy cannot tell"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use redcall_gateway::zmtp::wire::{Decoder, Incoming, SocketType, Violation, encode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_util::codec::FramedRead;

/// Longer than anything that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The version of the package auto-trainer-api.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V0_9,
    V0_12,
}

impl Version {
    pub(crate) const BOTH: [Self; 2] = [Self::V0_9, Self::V0_12];

    pub(crate) fn dialect(self) -> &'static str {
        match self {
            Self::V0_9 => "0.9",
            Self::V0_12 => "0.12",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::V0_9 => "zmtp_0_9",
            Self::V0_12 => "zmtp",
        }
    }

    /// Returns the interpreter that `cargo xtask test` has prepared, else one that an earlier run
    /// has left below the target directory.
    fn python(self) -> Option<PathBuf> {
        let variable = format!("REDCALL_PYTHON_{}", self.folder().to_uppercase());
        let named = std::env::var_os(variable).map(PathBuf::from);
        let made = format!("../venv-{}/bin/python", self.folder());
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(made);
        named.or_else(|| made.exists().then_some(made))
    }
}

/// A Python program with ZeroMQ sockets, `peer.py`. Killed when dropped.
pub(crate) struct Python {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Python {
    /// Starts it; `None` without that package, and then the test proves nothing.
    pub(crate) fn start(version: Version) -> Option<Self> {
        let Some(python) = version.python() else {
            eprintln!("skipped: there is no Python with auto-trainer-api {}", version.dialect());
            return None;
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/zmtp/peer.py");
        let mut command = Command::new(python);
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Some(Self { child, answers })
    }

    /// Calls a function of the program. Blocks.
    #[track_caller]
    pub(crate) fn call(&mut self, function: &str, mut arguments: Value) -> Value {
        arguments["do"] = json!(function);
        let mut line = String::new();
        tokio::task::block_in_place(|| {
            writeln!(self.child.stdin.as_mut().unwrap(), "{arguments}").unwrap();
            self.answers.read_line(&mut line).unwrap();
        });
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{function}: {error}: {line}"))
    }

    /// Opens a socket that connects to `at`, with subscriptions to all topics if it is a SUB.
    pub(crate) fn connect(&mut self, name: &str, kind: &str, at: &[SocketAddr]) {
        let at: Vec<String> = at.iter().map(SocketAddr::to_string).collect();
        let topics = if kind == "SUB" { json!([null]) } else { json!([]) };
        let socket = json!({"name": name, "kind": kind, "connect": at, "topics": topics});
        self.call("open_socket", socket);
    }

    /// Opens a socket that waits for peers; returns its address.
    pub(crate) fn bind(&mut self, name: &str, kind: &str) -> String {
        let port = self.call("open_socket", json!({"name": name, "kind": kind, "bind": true}));
        format!("127.0.0.1:{port}")
    }

    /// Sends a command as a console does; returns the reply.
    pub(crate) fn request(&mut self, name: &str, command: i64, nonce: i64, data: &Value) -> Value {
        let request = json!({"name": name, "command": command, "nonce": nonce, "data": data});
        self.call("exchange", request)
    }

    /// Returns the next message of a socket.
    pub(crate) fn recv(&mut self, name: &str) -> Value {
        self.call("recv", json!({"name": name, "timeout": PATIENCE.as_secs()}))
    }

    /// Returns the body of the next event on `topic`, and passes over other events.
    pub(crate) fn event(&mut self, name: &str, topic: &str) -> Value {
        loop {
            let event = self.recv(name);
            assert!(!event.is_null(), "no event on {topic}");
            if event[0] == topic {
                return event[2].clone();
            }
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection whose bytes the test writes.
pub(crate) struct Raw {
    pub(crate) read: FramedRead<OwnedReadHalf, Decoder>,
    pub(crate) write: OwnedWriteHalf,
}

impl Raw {
    /// Connects as a socket of this type, and waits until both sides are ready.
    pub(crate) async fn connect(at: SocketAddr, ours: SocketType) -> Self {
        let (read, mut write) = TcpStream::connect(at).await.unwrap().into_split();
        write.write_all(&encode::opening(ours)).await.unwrap();
        let mut raw = Self { read: FramedRead::new(read, Decoder::new(ours, 64 << 20)), write };
        let ready = raw.next().await.unwrap().unwrap();
        assert!(matches!(ready, Incoming::Ready { .. }), "{ready:?}");
        raw
    }

    pub(crate) async fn next(&mut self) -> Option<Result<Incoming, Violation>> {
        timeout(PATIENCE, self.read.next()).await.expect("the gateway sends nothing")
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.write.write_all(bytes).await.unwrap();
    }

    /// Sends a command as a REQ does.
    pub(crate) async fn send(&mut self, body: impl AsRef<[u8]>) {
        self.write(&encode::message(&[b"", body.as_ref()])).await;
    }

    /// Returns the frames of the next message.
    pub(crate) async fn message(&mut self) -> Vec<Bytes> {
        let incoming = self.next().await.expect("the gateway has closed").unwrap();
        let Incoming::Message(frames) = incoming else { panic!("{incoming:?}") };
        frames
    }

    /// Returns the text of the next reply.
    pub(crate) async fn reply(&mut self) -> String {
        let frames = self.message().await;
        assert!(frames.len() == 2 && frames[0].is_empty(), "{frames:?}");
        String::from_utf8(frames[1].to_vec()).unwrap()
    }

    /// Sends a command and returns its reply.
    pub(crate) async fn request(&mut self, body: impl AsRef<[u8]>) -> Value {
        self.send(body).await;
        serde_json::from_str(&self.reply().await).unwrap()
    }

    /// Subscribes to all topics.
    pub(crate) async fn subscriber(at: SocketAddr) -> Self {
        let mut raw = Self::connect(at, SocketType::Sub).await;
        raw.write(&encode::subscribe(b"", 1)).await;
        // Answered in order: the subscription is known then. A heartbeat may come before.
        raw.write(&encode::ping()).await;
        while raw.next().await.unwrap().unwrap() != Incoming::Pong {}
        raw
    }

    /// Returns topic and body of the next event.
    pub(crate) async fn event(&mut self) -> (u32, String) {
        let frames = self.message().await;
        let topic = u32::from_le_bytes(frames[0][..].try_into().unwrap());
        (topic, String::from_utf8(frames[1].to_vec()).unwrap())
    }
}

/// Writes `bytes` on a new connection and waits until the gateway closes it.
pub(crate) async fn closes(at: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    // It may close before all is written.
    let _ = stream.write_all(bytes).await;
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it stays open");
}

impl Raw {
    /// Returns the next event on `topic`, and passes over others.
    pub(crate) async fn event_of(&mut self, topic: u32) -> (u32, String) {
        loop {
            let event = self.event().await;
            if event.0 == topic {
                return event;
            }
        }
    }
}

/// Returns the body of a page over HTTP.
pub(crate) async fn get(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
