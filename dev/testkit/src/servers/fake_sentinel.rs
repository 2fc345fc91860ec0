//! A Sentinel whose replies a test sets.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Names the same primary for every service and client. Ends when dropped.
#[derive(Debug)]
pub struct FakeSentinel {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for FakeSentinel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeSentinel {
    /// Starts one that knows of `epoch` failovers, after which the server at `port` was the
    /// primary.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(epoch: u64, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, epoch, port));
            }
        });
        Self { address, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(mut stream: TcpStream, epoch: u64, port: u16) {
    let fields = ["ip", "127.0.0.1", "port", &port.to_string(), "config-epoch", &epoch.to_string()];
    let bulk = |text: &&str| format!("${}\r\n{text}\r\n", text.len());
    let primary = format!("*{}\r\n{}", fields.len(), fields.iter().map(bulk).collect::<String>());
    let mut request = [0; 4096];
    while let Ok(1..) = stream.read(&mut request).await {
        // Commands begin with their number of words; a driver sends a greeting first.
        let text = String::from_utf8_lossy(&request).to_ascii_uppercase();
        let commands = text.matches("\r\n$").count().min(text.matches('*').count());
        let reply =
            if text.contains("SENTINEL") { primary.clone() } else { "+OK\r\n".repeat(commands) };
        request.fill(0);
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}
