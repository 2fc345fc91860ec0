//! Rate limit for reading a program's pipe or an endpoint's connection: after a burst, at most so
//! many reads or messages a second. The pipe fills meanwhile: each read returns more, and at last
//! the peer blocks in its write.

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::{io, mem};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::time::{Instant, Sleep, sleep_until};

/// Reads of this size or more are not limited.
pub(super) const LARGE: usize = 1 << 10;

/// How many reads or messages are allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// At once.
    burst: u32,
    /// Per second, after the burst.
    per_second: u32,
}

/// The rate of messages, and of reads that bring some.
pub(super) const MESSAGES: Rate = Rate { burst: 1000, per_second: 1000 };
/// The rate of small reads. The next one returns everything that arrived meanwhile, at most 5 ms
/// late.
pub(super) const SMALL_READS: Rate = Rate { burst: 400, per_second: 200 };

/// Reads or messages left. Refilled over time.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Rate,
    left: u32,
    /// Time of the last refill, to one step of the rate.
    at: Instant,
}

impl Pace {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, left: rate.burst, at: Instant::now() }
    }

    /// Takes one.
    pub(super) fn spend(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// When the next may go; `None`: now.
    pub(super) fn next_at(&mut self) -> Option<Instant> {
        if self.left > 0 {
            return None;
        }
        let Rate { burst, per_second } = self.rate;
        let step = Duration::from_secs(1) / per_second;
        let gained = self.at.elapsed().as_nanos() / step.as_nanos();
        let gained = u32::try_from(gained).unwrap_or(u32::MAX);
        if gained > burst {
            (self.left, self.at) = (burst, Instant::now());
        } else {
            // The remaining fraction of a step counts next time.
            (self.left, self.at) = (gained, self.at + step * gained);
        }
        (self.left == 0).then(|| self.at + step)
    }
}

/// A file or socket whose reads can be limited. It is not watched during a pause: epoll wakes a
/// thread at each write of the peer, also while the worker does not read.
pub(super) trait Source: AsyncRead + Unpin + Sized {
    /// The file or socket while it is not watched.
    type Resting: Unpin;

    /// Stops watching.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    fn rest(self) -> io::Result<Self::Resting>;

    /// Watches again.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    fn watch(resting: Self::Resting) -> io::Result<Self>;
}

impl Source for pipe::Receiver {
    type Resting = OwnedFd;

    fn rest(self) -> io::Result<OwnedFd> {
        self.into_nonblocking_fd()
    }

    fn watch(resting: OwnedFd) -> io::Result<Self> {
        Self::from_owned_fd(resting)
    }
}

impl Source for TcpStream {
    type Resting = std::net::TcpStream;

    fn rest(self) -> io::Result<std::net::TcpStream> {
        self.into_std()
    }

    fn watch(resting: std::net::TcpStream) -> io::Result<Self> {
        Self::from_std(resting)
    }
}

/// The source of a [`Paced`].
enum State<R: Source> {
    Watched(R),
    Resting(R::Resting),
    /// It could not be watched again.
    Lost,
}

/// A pipe or a connection with rate-limited reads.
pub(super) struct Paced<R: Source> {
    state: State<R>,
    pace: Pace,
    is_free: fn(&[u8]) -> bool,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Paced<pipe::Receiver> {
    /// Returns the output of a child.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub(super) fn pipe(
        pipe: io::Result<OwnedFd>,
        rate: Rate,
        is_free: fn(&[u8]) -> bool,
    ) -> io::Result<Self> {
        Ok(Self::new(pipe::Receiver::from_owned_fd(pipe?)?, rate, is_free))
    }
}

impl<R: Source> Paced<R> {
    /// Reads for which `is_free` returns `true` are not limited.
    pub(super) fn new(source: R, rate: Rate, is_free: fn(&[u8]) -> bool) -> Self {
        Self { state: State::Watched(source), pace: Pace::new(rate), is_free, pause: None }
    }

    /// Returns the source, and watches it from now on.
    fn watched(&mut self) -> io::Result<Pin<&mut R>> {
        if let State::Resting(_) = self.state
            && let State::Resting(resting) = mem::replace(&mut self.state, State::Lost)
        {
            self.state = State::Watched(R::watch(resting)?);
        }
        match &mut self.state {
            State::Watched(source) => Ok(Pin::new(source)),
            State::Resting(_) | State::Lost => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn rest(&mut self) -> io::Result<()> {
        if let State::Watched(_) = self.state
            && let State::Watched(source) = mem::replace(&mut self.state, State::Lost)
        {
            self.state = State::Resting(source.rest()?);
        }
        Ok(())
    }

    /// Allows the burst again, and wakes a read that is paused.
    fn begin(&mut self) -> io::Result<Pin<&mut R>> {
        self.pace.left = self.pace.rate.burst;
        if let Some(pause) = &mut self.pause {
            // Not dropped: it holds the waker of the read.
            pause.as_mut().reset(Instant::now());
        }
        self.watched()
    }
}

impl<R: Source> AsyncRead for Paced<R> {
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
            this.rest()?;
            this.pause = Some(Box::pin(sleep_until(at)));
        }
        let before = buf.filled().len();
        ready!(this.watched()?.poll_read(cx, buf))?;
        if !(this.is_free)(&buf.filled()[before..]) {
            this.pace.spend();
        }
        Poll::Ready(Ok(()))
    }
}

/// Writes are not limited. Each one allows the burst again, for the response to it.
impl<W: Source + AsyncWrite> AsyncWrite for Paced<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.begin()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Watched(source) => Pin::new(source).poll_flush(cx),
            // It buffers nothing.
            State::Resting(_) | State::Lost => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched()?.poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        matches!(&self.state, State::Watched(source) if source.is_write_vectored())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.begin()?.poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Returns a pipe to which a thread writes single bytes.
    fn drops(rate: Rate, is_free: fn(&[u8]) -> bool) -> Paced<pipe::Receiver> {
        let (reader, mut writer) = io::pipe().unwrap();
        std::thread::spawn(move || while writer.write_all(b"x").is_ok() {});
        Paced::pipe(Ok(reader.into()), rate, is_free).unwrap()
    }

    /// Returns the time that `reads` reads of one byte take, in seconds.
    async fn seconds(mut pipe: Paced<pipe::Receiver>, reads: u32) -> f64 {
        let since = Instant::now();
        for _ in 0..reads {
            assert_eq!(pipe.read_u8().await.unwrap(), b'x');
        }
        since.elapsed().as_secs_f64()
    }

    #[tokio::test]
    async fn reads_beyond_the_burst_keep_the_rate() {
        for rate in [MESSAGES, SMALL_READS] {
            let reads = rate.burst + rate.per_second / 4;
            let took = seconds(drops(rate, |_| false), reads).await;
            assert!(took >= 0.24, "{rate:?}: {took}");
            let took = seconds(drops(rate, |_| true), 10 * rate.burst).await;
            assert!(took < 5.0, "{rate:?}: {took}");
        }
    }

    /// A watched source wakes a thread at each byte of its peer.
    #[tokio::test]
    async fn paused_source_is_not_watched() {
        // A second per read, so that the burst is over before it is refilled, even on a machine
        // that stops processes for a moment.
        let rate = Rate { burst: 4, per_second: 1 };
        let mut pipe = drops(rate, |_| false);
        for _ in 0..rate.burst {
            pipe.read_u8().await.unwrap();
        }
        let next = std::pin::pin!(pipe.read_u8());
        assert!(futures_util::poll!(next).is_pending());
        assert!(matches!(pipe.state, State::Resting(_)));
        pipe.read_u8().await.unwrap();
        assert!(matches!(pipe.state, State::Watched(_)));
    }

    #[tokio::test]
    async fn each_write_allows_the_burst_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let mut near = Paced::new(near, Rate { burst: 2, per_second: 1 }, |_| false);
        let since = Instant::now();
        for _ in 0..20 {
            // Also while it rests: the next read is the third.
            near.write_u8(1).await.unwrap();
            far.read_u8().await.unwrap();
            far.write_u16(2).await.unwrap();
            near.read_u8().await.unwrap();
            near.read_u8().await.unwrap();
            let next = std::pin::pin!(near.read_u8());
            assert!(futures_util::poll!(next).is_pending());
            assert!(matches!(near.state, State::Resting(_)));
        }
        // A burst that is not allowed again would take two seconds each time.
        assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    }

    #[tokio::test]
    async fn write_wakes_a_paused_read() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let rate = Rate { burst: 2, per_second: 1 };
        let near = Paced::new(near, rate, |_| false);
        let (mut reader, mut writer) = tokio::io::split(near);
        far.write_u16(2).await.unwrap();
        for _ in 0..rate.burst {
            reader.read_u8().await.unwrap();
        }
        // In its own task, which only its waker polls.
        let next = tokio::spawn(async move { reader.read_u8().await });
        tokio::task::yield_now().await;
        writer.write_u8(1).await.unwrap();
        far.write_u8(3).await.unwrap();
        let next = tokio::time::timeout(Duration::from_secs(10), next).await;
        assert_eq!(next.expect("the read was not woken").unwrap().unwrap(), 3);
    }

    #[tokio::test]
    async fn pace_regains_its_burst_and_no_more() {
        let rate = MESSAGES;
        for (rest, max) in [(300, 300), (60_000, rate.burst)] {
            let since = Instant::now();
            let at = since - Duration::from_millis(rest);
            let mut pace = Pace { rate, left: 0, at };
            let mut gained = 0;
            while pace.next_at().is_none() {
                pace.spend();
                gained += 1;
            }
            // Time goes on meanwhile.
            let ms = u32::try_from(since.elapsed().as_millis()).unwrap();
            let more = rate.per_second * ms / 1000 + 1;
            assert!((max..=max + more).contains(&gained), "{rest}: {gained}");
        }
    }
}
