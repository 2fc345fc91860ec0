//! Doors with a protocol of these tests: each line is sent back.

mod connections;
mod inward;
mod outward;
mod panics;
mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use redcall_client::Client;
use redcall_common::settings::Settings;
use redcall_testkit::TestRedis;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Connection, Door, Listeners, Metrics};
use crate::protocols;

/// A door with its Redis.
struct Opened {
    door: Arc<Door>,
    listeners: Listeners,
    address: SocketAddr,
    metrics: Metrics,
    draining: CancellationToken,
    // Last, since connections to a server that has gone are noisy.
    redis: TestRedis,
}

/// Opens a door `g` that listens; `rest` follows its keys.
async fn open(rest: &str) -> Opened {
    let listen = "protocol = 'bgpy'\nlisten = '127.0.0.1:0'\nservice = 's'";
    open_as(&format!("[gateways.g]\n{listen}\n{rest}")).await
}

/// Opens the door `g` of this settings file.
async fn open_as(text: &str) -> Opened {
    let redis = TestRedis::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("redcall.toml");
    std::fs::write(&file, text).unwrap();
    let settings = Settings::load_from(Some(&file), folder.path(), &BTreeMap::new());
    let settings = settings.unwrap_or_else(|error| panic!("{error}"));
    let settings = Arc::new(Settings { redis: redis.settings(), ..settings });
    let client = Client::from_settings(&settings).await.unwrap();
    let (metrics, draining) = (Metrics::new(), CancellationToken::new());
    let own = &settings.gateways["g"];
    let run = (&metrics, draining.clone());
    let door = Arc::new(Door::new("g", own, settings.clone(), client, run));
    let addresses = protocols::addresses(&own.protocol);
    let listeners = Listeners::bind(&door, &addresses).unwrap();
    let first = listeners.addresses().next().map(|(_, address)| address);
    let address = first.unwrap_or(([127, 0, 0, 1], 0).into());
    Opened { door, listeners, address, metrics, draining, redis }
}

impl Opened {
    /// Serves the lines; returns the task that ends with the listener.
    fn serve(&mut self) -> JoinHandle<()> {
        let listener = self.listeners.take("listen").remove(0);
        let door = self.door.clone();
        let serve = move |connection| lines(door.clone(), connection);
        tokio::spawn(listener.serve(self.door.clone(), serve))
    }

    async fn connect(&self) -> Line {
        Line::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// The value of a metric, such as `redcall_gateway_connections{gateway="g"}`.
    fn metric(&self, name: &str) -> Option<f64> {
        let mut text = String::new();
        self.metrics.encode(&mut text).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }
}

/// Sends each line back; panics at `panic`, and never reads again after `stop reading`.
async fn lines(door: Arc<Door>, connection: Connection) {
    let Connection { stream, peer, open: _open } = connection;
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    while let Ok(Ok(1..)) = door.next(reader.read_line(&mut line)).await {
        match line.trim_end() {
            "panic" => panic!("requested by {peer}"),
            "flood" => loop {
                if writer.write_all(&[b'x'; 1 << 16]).await.is_err() {
                    return door.refuse(&peer, "slow");
                }
            },
            _ if writer.write_all(line.as_bytes()).await.is_err() => return,
            _ => line.clear(),
        }
    }
}

/// The other end of a connection.
struct Line<S = TcpStream>(BufReader<S>);

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Line<S> {
    fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    async fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Reads a line; `None` if the connection was closed.
    async fn read(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line).await {
            Ok(1..) => Some(line.trim_end().to_owned()),
            Ok(0) | Err(_) => None,
        }
    }

    /// Sends a line and reads the answer.
    async fn request(&mut self, line: &str) -> Option<String> {
        self.send(line).await;
        self.read().await
    }
}
