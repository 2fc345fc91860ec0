//! One connection to a foreign program, plain or with TLS. A write that its reader does not read
//! fails after 10 s.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

/// How long a write waits for the reader.
const WRITE_TIMEOUT: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 10_000 });

/// How long a connection is silent before the system probes its peer, how often it
/// probes, and after how many probes without an answer the connection ends.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;
/// How long written bytes may stay without an acknowledgement, ms: the system sends no probe while
/// some are on their way, and repeats them for about 15 minutes.
#[cfg(target_os = "linux")]
const ACKNOWLEDGED_MS: u32 = 60_000;

/// A connection to a foreign program.
pub(crate) struct Stream {
    inner: Inner,
    /// Runs while a write makes no progress.
    stalled: Option<Pin<Box<Sleep>>>,
}

enum Inner {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Wraps a plain connection.
    pub(crate) fn plain(stream: TcpStream) -> Self {
        // Small messages must not wait for each other.
        let _ = stream.set_nodelay(true);
        keep_alive(&stream);
        Self { inner: Inner::Plain(stream), stalled: None }
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>) -> Self {
        keep_alive(stream.get_ref().0);
        Self { inner: Inner::Tls(Box::new(stream)), stalled: None }
    }

    /// Connects to `target`, `HOST:PORT`. Cancel safe.
    ///
    /// # Errors
    ///
    /// If nothing listens there.
    pub(crate) async fn connect(target: &str) -> io::Result<Self> {
        Ok(Self::plain(TcpStream::connect(target).await?))
    }

    /// Passes on the result of a write, or fails if there was no progress for too long.
    fn progress<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }
}

/// Has the system notice a peer whose host is gone, within about a minute: else its connection, and
/// its place among the connections of the door, would stay.
fn keep_alive(stream: &TcpStream) {
    let set = || {
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
        #[cfg(target_os = "linux")]
        sockopt::set_tcp_user_timeout(stream, ACKNOWLEDGED_MS)?;
        Ok::<(), rustix::io::Errno>(())
    };
    if let Err(error) = set() {
        tracing::debug!(%error, "cannot set the keepalive of a connection");
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Inner::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Inner::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        self.progress(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        self.progress(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        self.progress(cx, closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_notice_a_host_that_is_gone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let Inner::Plain(stream) = Stream::connect(&target).await.unwrap().inner else { panic!() };
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        let idle = sockopt::tcp_keepidle(&stream).unwrap();
        assert!(idle <= Duration::from_secs(60), "{idle:?}");
        // With bytes on their way.
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), ACKNOWLEDGED_MS);
    }
}
