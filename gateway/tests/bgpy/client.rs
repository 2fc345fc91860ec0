//! A client that speaks bgpy byte by byte, and checks what bgpy's own client relies on.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redcall_gateway::pickle::{Bounds, Classes, Writer, read_objects};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Long enough for a loaded machine: only a test that fails uses it up.
const PATIENCE: Duration = Duration::from_secs(20);
/// Less than the pace of a gateway, for the time between sending and receiving.
const LEAST_GAP: Duration = Duration::from_millis(150);

pub(crate) const TOKEN: &str = "tok-0123456789";

const CLASSES: Classes = Classes {
    object: ("bgpy.core.message", "Message"),
    member: ("bgpy.core.message", "MessageType"),
    highest: 5,
};

/// The types of messages.
pub(crate) mod kind {
    pub(crate) const INIT: u8 = 0;
    pub(crate) const EXEC: u8 = 1;
    pub(crate) const EXIT: u8 = 2;
    pub(crate) const AUTH: u8 = 3;
    pub(crate) const OK: u8 = 4;
    pub(crate) const ERROR: u8 = 5;
}

/// A message that was received: its type, and its arguments as JSON.
pub(crate) type Received = (u8, String);

pub(crate) struct Client {
    stream: TcpStream,
    last: Option<Instant>,
}

/// Writes a frame around a pickle.
pub(crate) fn frame(pickle: &[u8]) -> Vec<u8> {
    let base64 = STANDARD.encode(pickle);
    let lines: Vec<&[u8]> = base64.as_bytes().chunks(76).collect();
    let body = [lines.join(&b'\n'), b"\n".to_vec()].concat();
    [format!("{:<16}", body.len()).into_bytes(), body].concat()
}

/// Writes a message whose arguments are JSON.
pub(crate) fn message(kind: u8, args: &str) -> Vec<u8> {
    let args = RawValue::from_string(args.to_owned()).unwrap();
    frame(&pickle(kind, |writer| {
        writer.json(&args).unwrap();
    }))
}

/// Writes an INIT with the tasks `MODULE.init_task`, `MODULE.exec_task` and `MODULE.exit_task`.
pub(crate) fn init(module: &str) -> Vec<u8> {
    frame(&pickle(kind::INIT, |writer| {
        writer.dict();
        for task in ["init_task", "exec_task", "exit_task"] {
            writer.text(task).unwrap().reference((module, task));
        }
        writer.text("await_response").unwrap();
        writer.json(&RawValue::from_string("true".to_owned()).unwrap()).unwrap().end_dict();
    }))
}

/// Writes a message; `args` writes the dict of its arguments.
pub(crate) fn pickle(kind: u8, args: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.reference(CLASSES.object).new_object().none().dict();
    writer.text("type").unwrap().reference(CLASSES.member).member(kind).text("args").unwrap();
    args(&mut writer);
    writer.end_dict().pair().build();
    writer.finish()
}

/// Reads a frame that was recorded or received.
pub(crate) fn parse(frame: &[u8]) -> Received {
    let base64: Vec<u8> = frame[16..].iter().copied().filter(|byte| *byte != b'\n').collect();
    let pickle = STANDARD.decode(base64).unwrap();
    let document = read_objects(&pickle, &Bounds { bytes: 64 << 20, depth: 64 }, &CLASSES).unwrap();
    let state = document.root().state().unwrap();
    let kind = state.get("type").unwrap().member().unwrap();
    (kind, state.get("args").unwrap().json().unwrap())
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, last: None }
    }

    /// Connects and authenticates.
    pub(crate) async fn authenticated(address: SocketAddr) -> Self {
        let mut client = Self::connect(address).await;
        client.authenticate().await;
        client
    }

    pub(crate) async fn authenticate(&mut self) {
        let token = format!(r#"{{"token":"{TOKEN}","await_response":true}}"#);
        self.send(&message(kind::AUTH, &token)).await;
        self.receives(kind::OK, r#"{"message":"Received 'AUTH'"}"#).await;
        let done = r#"{"message":"Authentication successful.","await_response":false}"#;
        self.receives(kind::OK, done).await;
        self.receipt("OK").await;
    }

    pub(crate) async fn initialize(&mut self) {
        self.send(&init("mytasks")).await;
        self.receives(kind::OK, r#"{"message":"Received 'INIT'"}"#).await;
        let done = r#"{"message":"Initialization successful.","await_response":false}"#;
        self.receives(kind::OK, done).await;
        self.receipt("OK").await;
    }

    /// Sends EXEC with these members of its arguments and waits for the answer.
    pub(crate) async fn execute(&mut self, members: &str) -> Received {
        self.call(kind::EXEC, members).await
    }

    /// Sends EXEC or EXIT and waits for the answer.
    pub(crate) async fn call(&mut self, kind: u8, members: &str) -> Received {
        self.begin(kind, members).await;
        let answer = self.receive().await;
        self.receipt("OK").await;
        answer
    }

    /// Sends EXEC or EXIT for an answer, and receives the receipt.
    pub(crate) async fn begin(&mut self, kind: u8, members: &str) {
        let name = if kind == kind::EXEC { "EXEC" } else { "EXIT" };
        let comma = if members.is_empty() { "" } else { "," };
        let args = format!("{{{members}{comma}\"await_response\":true}}");
        self.send(&message(kind, &args)).await;
        self.receives(kind::OK, &format!(r#"{{"message":"Received '{name}'"}}"#)).await;
    }

    /// Sends EXEC without waiting for an answer; returns what comes in place of the receipt.
    pub(crate) async fn enqueue(&mut self, members: &str) -> Received {
        let args = format!("{{{members},\"await_response\":false}}");
        self.send(&message(kind::EXEC, &args)).await;
        self.receive().await
    }

    pub(crate) async fn receipt(&mut self, received: &str) {
        let args = format!(r#"{{"message":"Received '{received}'"}}"#);
        self.send(&message(kind::OK, &args)).await;
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    #[track_caller]
    pub(crate) fn receives(&mut self, kind: u8, args: &str) -> impl Future<Output = ()> {
        let expected = (kind, args.to_owned());
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.receive().await, expected, "{caller}") }
    }

    /// Receives one message as bgpy's client does: in pieces of up to 2048 bytes, of which the
    /// first has the header, and the last ends with the message.
    pub(crate) async fn receive(&mut self) -> Received {
        timeout(PATIENCE, self.receive_in_pieces()).await.expect("a message in time")
    }

    async fn receive_in_pieces(&mut self) -> Received {
        let (mut message, mut piece) = (Vec::new(), [0; 2048]);
        loop {
            let read = self.stream.read(&mut piece).await.unwrap();
            assert!(read > 0, "closed after {} bytes", message.len());
            if message.is_empty() {
                assert!(read >= 16, "a header in pieces");
                let now = Instant::now();
                let gap = self.last.replace(now).map(|last| now - last);
                assert!(gap.is_none_or(|gap| gap >= LEAST_GAP), "{gap:?} after the message before");
            }
            message.extend_from_slice(&piece[..read]);
            let length: usize =
                std::str::from_utf8(&message[..16]).unwrap().trim().parse().unwrap();
            assert!(message.len() <= 16 + length, "two messages at once");
            if message.len() == 16 + length {
                return parse(&message);
            }
        }
    }

    /// Closes the direction to the gateway.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Waits until the gateway has closed; returns the bytes that came before.
    pub(crate) async fn closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        // Closing with unread bytes resets the connection.
        let _ = read.expect("the end of the connection in time");
        rest
    }
}
