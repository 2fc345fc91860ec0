//! Writes whose reader has to read: they fail when it has used up its time.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::patience::Patience;

/// How long a peer may keep writes waiting without reading.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 10_000 });
/// The least pace at which a peer has to read what it is sent, bytes per second.
pub(crate) const LEAST_PACE: u32 = 1024;
/// How much later than the end of a wait its writer is woken at most. A wait that is older was
/// given up.
const WAKE: Duration = Duration::from_secs(1);

/// A stream with a bound on slow readers.
pub(super) struct Paced<S> {
    inner: S,
    patience: Patience,
    /// Ends the wait of a write.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, patience: Patience::new(PATIENCE, LEAST_PACE), timer: None }
    }

    #[cfg(test)]
    pub(super) fn into_inner(self) -> S {
        self.inner
    }

    /// Passes on the result of a write, or fails if its reader has used up its time.
    fn progress<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        bytes: usize,
    ) -> Poll<io::Result<T>> {
        let now = Instant::now();
        if self.patience.end().is_some_and(|end| end + WAKE < now) {
            self.patience.forget_wait();
        }
        if written.is_ready() {
            self.patience.taken(bytes, now);
            return written;
        }
        let end = self.patience.waits(now);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        ready!(timer.as_mut().poll(cx));
        // A writer that tries again waits as long.
        (self.patience, self.timer) = (Patience::new(PATIENCE, LEAST_PACE), None);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        let count = match &written {
            Poll::Ready(Ok(count)) => *count,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        self.progress(cx, written, count)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.progress(cx, flushed, 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.progress(cx, closed, 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::time::{Interval, interval, timeout};

    use super::*;

    /// Takes so many bytes at each tick.
    struct Reader {
        ticks: Interval,
        bytes: usize,
    }

    impl AsyncWrite for Reader {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            ready!(self.ticks.poll_tick(cx));
            Poll::Ready(Ok(self.bytes.min(bytes.len())))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn written(bytes: usize) -> io::Result<()> {
        let reader = Reader { ticks: interval(PATIENCE / 6), bytes };
        let writing = async { Paced::new(reader).write_all(&[0; 2048]).await };
        timeout(Duration::from_secs(20), writing).await.expect("an end")
    }

    #[tokio::test]
    async fn reader_of_single_bytes_fails_the_write() {
        let error = written(1).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        written(256).await.unwrap();
    }
}
