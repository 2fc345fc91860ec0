//! Rate limit for reading a program's pipe: after a burst, at most [`PER_SECOND`] reads or messages
//! a second. The pipe fills meanwhile: each read returns more, and at last the program blocks in
//! its write.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Size of the burst.
const BURST: u32 = 1000;
/// Rate after the burst, per second.
const PER_SECOND: u32 = 1000;
/// Reads of this size or more are not limited.
pub(super) const LARGE: usize = 1 << 10;

/// Reads or messages left. Refilled over time.
#[derive(Debug)]
pub(super) struct Pace {
    left: u32,
    /// Time of the last refill, to the millisecond.
    at: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { left: BURST, at: Instant::now() }
    }

    /// Takes one.
    pub(super) fn spend(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Returns the time of the next one; `None`: now.
    pub(super) fn next_at(&mut self) -> Option<Instant> {
        if self.left > 0 {
            return None;
        }
        let step = Duration::from_secs(1) / PER_SECOND;
        let gained = self.at.elapsed().as_nanos() / step.as_nanos();
        let gained = u32::try_from(gained).unwrap_or(u32::MAX);
        if gained > BURST {
            (self.left, self.at) = (BURST, Instant::now());
        } else {
            // The remaining fraction of a step counts next time.
            (self.left, self.at) = (gained, self.at + step * gained);
        }
        (self.left == 0).then(|| self.at + step)
    }
}

/// A pipe with rate-limited reads.
pub(super) struct Paced<R> {
    pipe: R,
    pace: Pace,
    is_free: fn(&[u8]) -> bool,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<R> Paced<R> {
    /// Reads for which `is_free` returns `true` are not limited.
    pub(super) fn new(pipe: R, is_free: fn(&[u8]) -> bool) -> Self {
        Self { pipe, pace: Pace::new(), is_free, pause: None }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Paced<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            let Some(at) = this.pace.next_at() else { break };
            this.pause = Some(Box::pin(sleep_until(at)));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.pipe).poll_read(cx, buf))?;
        if !(this.is_free)(&buf.filled()[before..]) {
            this.pace.spend();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// A pipe that always has another byte.
    struct Drops;

    impl AsyncRead for Drops {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buf.put_slice(b"x");
            Poll::Ready(Ok(()))
        }
    }

    async fn seconds(mut pipe: Paced<Drops>, reads: u32) -> f64 {
        let since = Instant::now();
        for _ in 0..reads {
            pipe.read_u8().await.unwrap();
        }
        since.elapsed().as_secs_f64()
    }

    #[tokio::test]
    async fn reads_beyond_the_burst_keep_the_rate() {
        let took = seconds(Paced::new(Drops, |_| false), BURST + PER_SECOND / 4).await;
        assert!(took >= 0.24, "{took}");
        let took = seconds(Paced::new(Drops, |_| true), 10 * BURST).await;
        assert!(took < 5.0, "{took}");
    }

    #[tokio::test]
    async fn pace_regains_its_burst_and_no_more() {
        for (rest, max) in [(300, 300), (60_000, BURST)] {
            let mut pace = Pace { left: 0, at: Instant::now() - Duration::from_millis(rest) };
            let mut gained = 0;
            while pace.next_at().is_none() {
                pace.spend();
                gained += 1;
            }
            // Time passes meanwhile.
            assert!((max..max + 100).contains(&gained), "{rest}: {gained}");
        }
    }
}
