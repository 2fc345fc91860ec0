//! One connection to a foreign program, plain or with TLS. Writes to a peer that does not read, or
//! too slowly, fail: see `paced.rs`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::paced::Paced;

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
pub(crate) struct Stream(Paced<Inner>);

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
        Self(Paced::new(Inner::Plain(stream)))
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>) -> Self {
        keep_alive(stream.get_ref().0);
        Self(Paced::new(Inner::Tls(Box::new(stream))))
    }

    /// Connects to `target`, `HOST:PORT`. Cancel safe.
    ///
    /// # Errors
    ///
    /// If nothing listens there.
    pub(crate) async fn connect(target: &str) -> io::Result<Self> {
        Ok(Self::plain(TcpStream::connect(target).await?))
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

impl AsyncRead for Inner {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Inner {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_notice_a_host_that_is_gone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let Stream(paced) = Stream::connect(&target).await.unwrap();
        let Inner::Plain(stream) = paced.into_inner() else { panic!() };
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        let idle = sockopt::tcp_keepidle(&stream).unwrap();
        assert!(idle <= Duration::from_secs(60), "{idle:?}");
        // With bytes on their way.
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), ACKNOWLEDGED_MS);
    }
}
