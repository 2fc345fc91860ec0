//! One connection after its handshake.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout};
use tokio_util::codec::FramedRead;

use super::wire::{Decoder, Incoming, SocketType, Violation, encode};
use crate::door::Stream;

/// Time limit of a handshake, as in libzmq.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection whose peer is ready.
pub(super) struct Link {
    pub(super) read: FramedRead<ReadHalf<Stream>, Decoder>,
    pub(super) write: WriteHalf<Stream>,
    /// Pongs that are not written yet.
    out: BytesMut,
    /// The peer has announced the version 3.`minor`.
    pub(super) minor: u8,
    /// The last time at which the peer has sent something.
    pub(super) received_at: Instant,
}

impl Link {
    /// Sends our greeting and READY, and reads the peer's. `largest` is the bound of a message,
    /// bytes.
    ///
    /// # Errors
    ///
    /// If the peer is not one that can talk to `ours`, or not ready in time.
    pub(super) async fn open(
        ours: SocketType,
        stream: Stream,
        largest: usize,
    ) -> Result<Self, Violation> {
        let handshake = async {
            let (read, mut write) = tokio::io::split(stream);
            // libzmq sends no more than ten bytes before it has ours.
            write.write_all(&encode::opening(ours)).await?;
            write.flush().await?;
            let mut read = FramedRead::new(read, Decoder::new(ours, largest));
            match read.next().await {
                Some(Ok(Incoming::Ready { minor })) => Ok(Self::new(read, write, minor)),
                Some(Err(violation)) => Err(violation),
                Some(Ok(_)) => Err(Violation::NotReady),
                None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            }
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long");
        timeout(HANDSHAKE_TIMEOUT, handshake).await.unwrap_or_else(|_| Err(late().into()))
    }

    fn new(
        read: FramedRead<ReadHalf<Stream>, Decoder>,
        write: WriteHalf<Stream>,
        minor: u8,
    ) -> Self {
        Self { read, write, out: BytesMut::new(), minor, received_at: Instant::now() }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// If the connection has failed, or the peer does not read.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_pongs().await?;
        self.write.write_all(bytes).await?;
        self.write.flush().await
    }

    /// Cancel safe: bytes leave the buffer as they are written.
    async fn write_pongs(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            self.write.write_buf(&mut self.out).await?;
        }
        self.write.flush().await
    }

    /// Reads the next message; answers pings. `None` if the peer has closed the connection. Cancel
    /// safe.
    ///
    /// # Errors
    ///
    /// If the connection has failed, or the peer violates the protocol.
    pub(super) async fn message(&mut self) -> Option<Result<Vec<Bytes>, Violation>> {
        loop {
            if let Err(error) = self.write_pongs().await {
                return Some(Err(error.into()));
            }
            let next = self.read.next().await?;
            self.received_at = Instant::now();
            match next {
                Ok(Incoming::Message(frames)) => return Some(Ok(frames)),
                Ok(Incoming::Ping(context)) => self.out.extend(encode::pong(&context)),
                Ok(_) => {}
                Err(violation) => return Some(Err(violation)),
            }
        }
    }
}
