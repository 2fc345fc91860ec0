//! Accepting connections: at most `connections` of a door, each with a task of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redcall_common::settings::ProtocolSettings;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::metrics::Open;
use super::{Door, Stream, tls};
use crate::error::DoorError;

/// The most connections that wait to be accepted, as far as the system allows: after a restart all
/// clients connect at once, and beyond this the system resets connections.
const BACKLOG: u32 = 4096;
/// Pause after a failed accept, usually for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time limit of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The bound addresses of a door, before they are served.
#[derive(Default)]
pub(crate) struct Listeners(Vec<Listener>);

/// One bound address of a door.
pub(crate) struct Listener {
    key: &'static str,
    address: SocketAddr,
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
}

/// One accepted connection.
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    /// The address of the peer, `IP:PORT`: for logs and the header `peer`.
    pub(crate) peer: String,
    /// Counts the connection until it is dropped.
    pub(crate) open: Open,
}

impl Listeners {
    /// Binds `addresses`, each with its key in the settings of `door`.
    ///
    /// # Errors
    ///
    /// [`DoorError::Listen`], [`DoorError::File`].
    pub(crate) fn bind(
        door: &Door,
        addresses: &[(&'static str, SocketAddr)],
    ) -> Result<Self, DoorError> {
        let protocols = match door.settings().protocol {
            ProtocolSettings::GrpcAvro(_) => tls::GRPC,
            ProtocolSettings::Rq(_)
            | ProtocolSettings::Pm(_)
            | ProtocolSettings::Zmtp(_)
            | ProtocolSettings::Bgpy(_) => &[],
        };
        let tls = door.settings().listening.tls.as_ref();
        let tls = tls.map(|settings| tls::acceptor(settings, protocols)).transpose()?;
        let mut listeners = Vec::with_capacity(addresses.len());
        for (key, address) in addresses.iter().copied() {
            let refused = |source| DoorError::Listen { key, address, source };
            let socket = listen(address).map_err(refused)?;
            let address = socket.local_addr().map_err(refused)?;
            tracing::info!(gateway = door.name(), key, %address, "listening");
            listeners.push(Listener { key, address, socket, tls: tls.clone() });
        }
        Ok(Self(listeners))
    }

    /// Returns the addresses, each with its key.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.0.iter().map(|listener| (listener.key, listener.address))
    }

    /// Takes the listeners of `key`.
    pub(crate) fn take(&mut self, key: &str) -> Vec<Listener> {
        self.0.extract_if(.., |listener| listener.key == key).collect()
    }
}

impl Listener {
    /// Accepts connections until the door drains, then waits for the open ones. Each is served by
    /// `serve` in a task of its own. Dropping the future ends all connections.
    pub(crate) async fn serve<S, F>(self, door: Arc<Door>, serve: S)
    where
        S: Fn(Connection) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = door.draining() => break,
                Some(_) = tasks.join_next() => {}
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => self.take(&door, (stream, peer), &mut tasks, &serve),
                    Err(error) => {
                        tracing::warn!(gateway = door.name(), %error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self);
        while tasks.join_next().await.is_some() {}
    }

    /// Starts the task of a connection, or closes it if there are too many.
    fn take<S, F>(
        &self,
        door: &Arc<Door>,
        (stream, peer): (TcpStream, SocketAddr),
        tasks: &mut JoinSet<()>,
        serve: &S,
    ) where
        S: Fn(Connection) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let Ok(permit) = door.permits.clone().try_acquire_owned() else {
            door.refuse(&peer.to_string(), "connections");
            return;
        };
        let open = door.metrics().connected();
        let (tls, door, serve) = (self.tls.clone(), door.clone(), serve.clone());
        let running = door.tasks.token();
        tasks.spawn(async move {
            let _running = running;
            let _permit = permit;
            let peer = peer.to_string();
            let stream = match tls {
                None => Stream::plain(stream),
                Some(tls) => match handshake(&tls, stream).await {
                    Ok(stream) => stream,
                    Err(error) => {
                        tracing::info!(gateway = door.name(), peer, %error, "no TLS connection");
                        return door.metrics().refused("tls");
                    }
                },
            };
            door.guarded(serve(Connection { stream, peer, open })).await;
        });
    }
}

/// Binds an address and listens on it.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restarted gateway has the address again at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn handshake(tls: &TlsAcceptor, stream: TcpStream) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(done) => done.map(Stream::tls),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long")),
    }
}
