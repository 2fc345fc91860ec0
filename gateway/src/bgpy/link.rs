//! One connection: whole messages in, and out at a pace that the client can follow.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::FramedRead;

use super::reply::Reply;
use super::wire::framing::{FrameError, Frames, frame};
use super::wire::message;
use crate::door::Stream;

/// How long a client's receipt of an answer, or the rest of a refused frame, is waited for.
const RECEIPT: Duration = Duration::from_secs(5);

/// The messages of one connection.
pub(super) struct Link {
    frames: FramedRead<Stream, Frames>,
    /// A message that came while a task ran.
    early: Option<Vec<u8>>,
    pace: Duration,
    /// When the next message may begin.
    next_start: Instant,
}

impl Link {
    /// Accepts messages of at most `limit` bytes, and leaves `pace` between its own.
    pub(super) fn new(stream: Stream, limit: usize, pace: Duration) -> Self {
        let frames = FramedRead::new(stream, Frames::up_to(limit));
        Self { frames, early: None, pace, next_start: Instant::now() }
    }

    /// Accepts messages of at most `limit` bytes from now on.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.frames.decoder_mut().set_limit(limit);
    }

    /// Returns the pickle of the next message; `None` if the client has closed. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        match self.early.take() {
            Some(pickle) => Ok(Some(pickle)),
            None => self.frames.next().await.transpose(),
        }
    }

    /// Completes when the client has closed. One message that comes before is kept. Cancel safe.
    pub(super) async fn closed(&mut self) {
        while self.early.is_none() {
            match self.frames.next().await {
                Some(Ok(pickle)) => self.early = Some(pickle),
                Some(Err(_)) | None => return,
            }
        }
        std::future::pending().await
    }

    /// Sends a message. A client reads up to 2048 bytes at once and expects exactly one message in
    /// them, so that `pace` has to pass before the next one.
    pub(super) async fn send(&mut self, reply: &Reply) -> Result<(), FrameError> {
        let pickle = message::write(reply.outcome, &reply.args).or_else(|refused| {
            tracing::info!(%refused, "an answer cannot be written for its caller");
            let error = Reply::refused("The answer cannot be written as a pickle.");
            message::write(error.outcome, &error.args)
        });
        let pickle = pickle.map_err(std::io::Error::other)?;
        // Whole in one write: the header must not be divided among segments.
        let frame = frame(&pickle);
        sleep_until(self.next_start).await;
        let stream = self.frames.get_mut();
        let written = stream.write_all(&frame).await;
        self.next_start = Instant::now() + self.pace;
        written?;
        Ok(stream.flush().await?)
    }

    /// Sends the answer of a message, and reads the client's receipt, whatever it contains.
    pub(super) async fn send_last(&mut self, reply: &Reply) -> Result<(), FrameError> {
        self.send(reply).await?;
        match timeout(RECEIPT, self.next()).await {
            Ok(receipt) => receipt.map(drop),
            Err(_) => Ok(()),
        }
    }

    /// Reads and drops `length` bytes of a frame that was refused, for 5 s at most.
    pub(super) async fn discard(&mut self, length: usize) {
        let buffered = self.frames.read_buffer_mut();
        let mut left = length.saturating_sub(buffered.len());
        buffered.clear();
        let stream = self.frames.get_mut();
        let reading = async {
            let mut part = vec![0; 8 << 10];
            while left > 0 {
                let max = left.min(part.len());
                match stream.read(&mut part[..max]).await {
                    Ok(0) | Err(_) => return,
                    Ok(read) => left -= read,
                }
            }
        };
        // A client that takes longer is answered all the same.
        let _ = timeout(RECEIPT, reading).await;
    }

    /// Closes the direction to the client.
    pub(super) async fn close(mut self) {
        // The client may have closed already.
        let _ = self.frames.get_mut().shutdown().await;
    }
}
