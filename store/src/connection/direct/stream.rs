//! The socket of a direct connection: TCP, TLS or UNIX.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use redis::ConnectionAddr;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// See the module.
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// Forwards a call to the socket.
macro_rules! on_socket {
    ($stream:expr, $socket:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Tcp($socket) => $call,
            Stream::Tls(boxed) => {
                let $socket = &mut **boxed;
                $call
            }
            Stream::Unix($socket) => $call,
        }
    };
}

impl Stream {
    /// Connects. `tls` is the trust of a TLS address.
    ///
    /// # Errors
    ///
    /// The error of the socket or of TLS; [`io::ErrorKind::Unsupported`] for an address of another
    /// kind.
    pub(super) async fn connect(
        addr: &ConnectionAddr,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        match (addr, tls) {
            (ConnectionAddr::Tcp(host, port), _) => Ok(Self::Tcp(tcp(host, *port).await?)),
            (ConnectionAddr::TcpTls { host, port, .. }, Some(tls)) => {
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                let socket = tcp(host, *port).await?;
                let stream = TlsConnector::from(tls.clone()).connect(name, socket).await?;
                Ok(Self::Tls(Box::new(stream)))
            }
            (ConnectionAddr::Unix(path), _) => Ok(Self::Unix(UnixStream::connect(path).await?)),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect((host, port)).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_socket!(self, socket => Pin::new(socket).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_socket!(self, socket => Pin::new(socket).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, socket => Pin::new(socket).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, socket => Pin::new(socket).poll_shutdown(context))
    }
}
