//! The writing half of a link: frames of all its tasks, in order, one writer.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;

/// Frames that wait for the writer; then their senders wait.
const QUEUED: usize = 16;

/// Hands frames to the writer. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Outgoing(mpsc::Sender<Bytes>);

/// The frames that a writer gets.
pub(super) type Queued = mpsc::Receiver<Bytes>;

impl Outgoing {
    pub(super) fn new() -> (Self, Queued) {
        let (sender, frames) = mpsc::channel(QUEUED);
        (Self(sender), frames)
    }

    /// Sends a frame; waits while the queue is full. `false` if the link has ended: the frame is
    /// not sent. Cancel safe: it is then not sent either.
    pub(super) async fn send(&self, frame: Bytes) -> bool {
        self.0.send(frame).await.is_ok()
    }
}

/// Writes frames until `gone` is cancelled, then those that are queued, and closes the connection.
///
/// # Errors
///
/// If the connection fails, or the peer does not read: the stream bounds each write.
pub(super) async fn write(
    mut half: impl AsyncWrite + Unpin,
    mut frames: Queued,
    gone: CancellationToken,
) -> io::Result<()> {
    loop {
        let frame = tokio::select! {
            biased;
            () = gone.cancelled(), if !frames.is_closed() => {
                frames.close();
                continue;
            }
            frame = frames.recv() => frame,
        };
        let Some(frame) = frame else { return half.shutdown().await };
        half.write_all(&frame).await?;
        half.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn ended_link_writes_what_is_queued_and_nothing_later() {
        let (near, mut far) = tokio::io::duplex(64);
        let (outgoing, frames) = Outgoing::new();
        let gone = CancellationToken::new();
        assert!(outgoing.send(Bytes::from_static(b"ab")).await);
        assert!(outgoing.send(Bytes::from_static(b"c")).await);
        gone.cancel();
        write(near, frames, gone).await.unwrap();
        assert!(!outgoing.send(Bytes::from_static(b"d")).await);
        let mut read = String::new();
        far.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "abc");
    }
}
