//! Connections to HTTP endpoints: direct, or through the proxy that the environment names; with TLS
//! if the URL begins with `https`. HTTP/1.1 only.
//!
//! Connections are pooled per host. A dropped request closes its connection.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::PROXY_AUTHORIZATION;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tower_service::Service;

use crate::handler::paced::{LARGE, Paced, SMALL_READS};

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(60);
/// Largest head of a response, bytes; also the size of a read. A connection's task reads 128 times
/// before it yields, and only then stops at [`INTERIM`].
const HEAD: usize = 16 << 10;
/// Most 1xx responses before the final one.
pub(super) const INTERIM: usize = 16;
/// Interval of probes to a silent peer, and the number that may be lost.
const KEEPALIVE: Duration = Duration::from_secs(15);
const PROBES: u32 = 3;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Sends requests. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub(crate) struct Client {
    http: legacy::Client<HttpsConnector<Route>, Full<Bytes>>,
    proxies: Arc<Matcher>,
}

/// The reason of a failed request.
pub(super) enum SendError {
    /// The connection could not be made, or broke.
    Broken(legacy::Error),
    /// More than [`INTERIM`] 1xx responses came.
    Flooded,
}

impl Client {
    /// # Errors
    ///
    /// If TLS cannot be set up.
    pub(crate) fn new() -> Result<Self, String> {
        redcall_store::set_crypto_provider();
        let tls = HttpsConnectorBuilder::new().try_with_platform_verifier();
        let tls = tls.map_err(|error| format!("cannot set up TLS for HTTP requests: {error}"))?;
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        direct.set_nodelay(true);
        direct.set_keepalive(Some(KEEPALIVE));
        direct.set_keepalive_interval(Some(KEEPALIVE));
        direct.set_keepalive_retries(Some(PROBES));
        let proxies = Arc::new(Matcher::from_system());
        let route = Route { direct, proxies: proxies.clone() };
        let connector = tls.https_or_http().enable_http1().wrap_connector(route);
        let mut http = legacy::Client::builder(TokioExecutor::new());
        http.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).http1_max_buf_size(HEAD);
        Ok(Self { http: http.build(connector), proxies })
    }

    /// Returns the proxy for `uri`, if there is one.
    pub(super) fn proxy_of(&self, uri: &Uri) -> Option<Intercept> {
        self.proxies.intercept(uri)
    }

    /// Sends a request, and returns the head of its response. Dropping the future closes the
    /// connection.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub(super) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, SendError> {
        if request.uri().scheme_str() == Some("http")
            && let Some(proxy) = self.proxy_of(request.uri())
            && let Some(auth) = proxy.basic_auth()
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, auth.clone());
        }
        let (interim, flooded) = (AtomicUsize::new(0), Arc::new(Notify::new()));
        let notifier = flooded.clone();
        hyper::ext::on_informational(&mut request, move |_| {
            if interim.fetch_add(1, Ordering::Relaxed) == INTERIM {
                notifier.notify_one();
            }
        });
        tokio::select! {
            biased;
            () = flooded.notified() => Err(SendError::Flooded),
            response = self.http.request(request) => response.map_err(SendError::Broken),
        }
    }
}

/// Opens TCP connections: to the host itself, or to its proxy.
#[derive(Clone)]
struct Route {
    direct: HttpConnector,
    proxies: Arc<Matcher>,
}

impl Service<Uri> for Route {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (mut direct, proxy) = (self.direct.clone(), self.proxies.intercept(&uri));
        Box::pin(async move {
            let Some(proxy) = proxy else {
                return Ok(Stream::new(direct.call(uri).await?, false));
            };
            if uri.scheme_str() == Some("https") {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), direct);
                if let Some(auth) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                return Ok(Stream::new(tunnel.call(uri).await?, false));
            }
            Ok(Stream::new(direct.call(proxy.uri().clone()).await?, true))
        })
    }
}

/// A TCP connection. A response that comes in small pieces is read slower after a while.
struct Stream {
    tcp: TokioIo<Paced<TcpStream>>,
    /// `true` if the peer is a proxy that needs the whole URL.
    is_proxied: bool,
}

impl Stream {
    fn new(tcp: TokioIo<TcpStream>, is_proxied: bool) -> Self {
        let tcp = Paced::new(tcp.into_inner(), SMALL_READS, |piece| piece.len() >= LARGE);
        Self { tcp: TokioIo::new(tcp), is_proxied }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_proxied)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }
}
