//! A peer that the test controls message by message.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// Only ever used up by a test that fails.
const TIMEOUT: Duration = Duration::from_secs(20);

/// One end of a link.
pub(crate) struct Peer {
    stream: TcpStream,
}

impl Peer {
    /// Connects as an application.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Connects with a small buffer for what it has not read.
    pub(crate) async fn connect_small(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self { stream: socket.connect(address).await.unwrap() }
    }

    /// Takes an accepted connection.
    pub(crate) fn of(stream: TcpStream) -> Self {
        Self { stream }
    }

    /// Accepts the gateway as the server does.
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = timeout(TIMEOUT, listener.accept()).await.expect("a connection").unwrap();
        Self { stream }
    }

    /// Sends bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // The other side may have closed the connection at an earlier part.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends the text of one message.
    pub(crate) async fn send_text(&mut self, text: &str) {
        self.write(&framed(text)).await;
    }

    /// Sends one message.
    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends a request in session `sid`.
    pub(crate) async fn request(&mut self, id: u64, method: &str, sid: &str, params: Value) {
        let params = json!({"sid": sid, "params": params});
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
    }

    /// Sends a notification in session `sid`.
    pub(crate) async fn notify(&mut self, method: &str, sid: &str, params: Value) {
        let params = json!({"sid": sid, "params": params});
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params})).await;
    }

    /// Answers the request `incoming` with `result`, in its session.
    pub(crate) async fn answer(&mut self, incoming: &Value, result: Value) {
        let result = json!({"sid": incoming["params"]["sid"], "result": result});
        self.send(&json!({"jsonrpc": "2.0", "id": incoming["id"], "result": result})).await;
    }

    /// Answers the request `incoming` with an error.
    pub(crate) async fn fail(&mut self, incoming: &Value, code: i64, message: &str) {
        let error = json!({"code": code, "message": message});
        let error = json!({"sid": incoming["params"]["sid"], "error": error});
        self.send(&json!({"jsonrpc": "2.0", "id": incoming["id"], "error": error})).await;
    }

    /// Reads the text of the next message; `None` if the connection has ended.
    pub(crate) async fn next_text(&mut self) -> Option<String> {
        let reading = async {
            let length = self.stream.read_u32().await.ok()?;
            let mut bytes = vec![0; length as usize];
            self.stream.read_exact(&mut bytes).await.ok()?;
            Some(String::from_utf8(bytes).unwrap())
        };
        timeout(TIMEOUT, reading).await.expect("a message or the end of the connection")
    }

    /// Reads the next message.
    #[track_caller]
    pub(crate) fn next(&mut self) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let text = self.next_text().await;
            let text = text.unwrap_or_else(|| panic!("{caller}: the connection has ended"));
            serde_json::from_str(&text).unwrap()
        }
    }

    /// Sends a request and reads the next message, which is its answer.
    pub(crate) async fn call(&mut self, id: u64, method: &str, params: Value) -> Value {
        self.request(id, method, "S", params).await;
        let answer = self.next().await;
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// Waits for the end of the connection; returns the messages before it.
    pub(crate) async fn end(&mut self) -> Vec<String> {
        let mut messages = Vec::new();
        while let Some(message) = self.next_text().await {
            messages.push(message);
        }
        messages
    }

    /// Ends it.
    pub(crate) async fn close(mut self) {
        self.stream.shutdown().await.unwrap();
    }
}

/// Returns a message with its length.
pub(crate) fn framed(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&length, text.as_bytes()].concat()
}

/// The answer with this result, as the server's side writes it.
pub(crate) fn result(id: u64, sid: &str, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {"sid": sid, "result": result}})
}

/// The error in an answer: its code and message.
pub(crate) fn error(answer: &Value) -> (i64, String) {
    let error = &answer["error"]["error"];
    let message = error["message"].as_str().unwrap_or_else(|| panic!("no error: {answer}"));
    (error["code"].as_i64().unwrap(), message.to_owned())
}

/// A server that listens for the gateway, and the settings of a door that dials it.
pub(crate) async fn server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}
