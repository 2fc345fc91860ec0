//! Consoles and subscribers that connect over TLS, with a certificate of their own.

use futures_util::StreamExt as _;
use redcall_client::Kind;
use redcall_gateway::zmtp::wire::{Decoder, Incoming, SocketType, encode};
use redcall_testkit::Certificates;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_util::codec::FramedRead;

use crate::lab::Lab;
use crate::peers::PATIENCE;
use crate::support::tls;

/// One end of a connection.
struct Socket {
    read: FramedRead<ReadHalf<TlsStream<TcpStream>>, Decoder>,
    write: WriteHalf<TlsStream<TcpStream>>,
}

impl Socket {
    /// `None` if the door ends the connection before it is ready.
    async fn open(stream: std::io::Result<TlsStream<TcpStream>>, ours: SocketType) -> Option<Self> {
        let (read, write) = split(stream.ok()?);
        let mut socket = Self { read: FramedRead::new(read, Decoder::new(ours, 1 << 20)), write };
        socket.write(&encode::opening(ours)).await;
        let ready = timeout(PATIENCE, socket.read.next()).await.expect("an answer")?.ok()?;
        assert!(matches!(ready, Incoming::Ready { .. }), "{ready:?}");
        Some(socket)
    }

    async fn write(&mut self, bytes: &[u8]) {
        // A connection that was rejected may have ended.
        let _ = self.write.write_all(bytes).await;
        let _ = self.write.flush().await;
    }

    /// Returns the frames of the next message.
    async fn message(&mut self) -> Vec<bytes::Bytes> {
        loop {
            let next = timeout(PATIENCE, self.read.next()).await.expect("a message");
            if let Incoming::Message(frames) = next.expect("the door has closed").unwrap() {
                return frames;
            }
        }
    }
}

#[tokio::test]
async fn peers_need_a_certificate_of_the_authority() {
    let (ours, others) = (Certificates::create(), Certificates::create());
    let lab = Lab::new(&tls::key(&ours)).await;
    for (address, kind) in [(lab.commands(), SocketType::Req), (lab.events(), SocketType::Sub)] {
        for client in [None, Some(&others)] {
            let rejected = Socket::open(tls::connect(address, &ours, client).await, kind).await;
            assert!(rejected.is_none());
        }
    }
    let connect = async |address, kind| {
        let stream = tls::connect(address, &ours, Some(&ours)).await;
        Socket::open(stream, kind).await.expect("it is served")
    };
    // More than one record of TLS, in both directions.
    let mut console = connect(lab.commands(), SocketType::Req).await;
    let data = json!("x".repeat(300_000));
    let command = json!({"command": 110, "nonce": 7, "data": data}).to_string();
    console.write(&encode::message(&[b"", command.as_bytes()])).await;
    let reply: Value = serde_json::from_slice(&console.message().await[1]).unwrap();
    assert_eq!((&reply["nonce"], &reply["data"]), (&json!(7), &data));

    let mut subscriber = connect(lab.events(), SocketType::Sub).await;
    subscriber.write(&encode::subscribe(&4001_u32.to_le_bytes(), 1)).await;
    subscriber.write(&encode::ping()).await;
    let pong = timeout(PATIENCE, subscriber.read.next()).await.expect("a PONG");
    assert_eq!(pong.unwrap().unwrap(), Incoming::Pong);
    lab.client.publish("event", Kind(5), "over TLS").await.unwrap();
    let event = subscriber.message().await;
    assert!(str::from_utf8(&event[1]).unwrap().contains("over TLS"));
}
