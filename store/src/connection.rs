//! Opening connections: address, TLS, names, timeouts. What is done with them stands elsewhere.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo,
    IntoConnectionInfo, ProtocolVersion, PushInfo, TlsCertificates,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::error::StoreError;
use super::sentinel::{Primary, Sentinels};
use redcall_common::settings::{RedisSettings, SentinelUrl};

/// Done by every connection first: where it is refused, nothing can be queued or settled. It
/// writes nothing, but counts as a script that may.
const MAY_WRITE: &str = "#!lua flags=allow-oom\nreturn 1";

/// Opens connections to one Redis under one client name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connector {
    target: Target,
    address: Arc<str>,
    name: Arc<str>,
    connect_timeout: Duration,
    response_timeout: Duration,
    /// Counts the connections that were lost. Written by whoever loses one.
    losses: watch::Sender<u64>,
}

/// Where the server is.
#[derive(Debug, Clone)]
enum Target {
    Fixed(ConnectionInfo),
    /// At one of many addresses; `like` says how each is to be reached.
    Sentinels {
        sentinels: Arc<Sentinels>,
        like: ConnectionInfo,
    },
}

/// Which server a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer(Option<Primary>);

impl Connector {
    /// Reads the settings (and certificate files); connects to nothing yet. `name` is what
    /// `CLIENT LIST` shows.
    ///
    /// # Errors
    ///
    /// [`StoreError::Config`] when URL or certificates cannot be used.
    pub fn new(settings: &RedisSettings, name: &str) -> Result<Self, StoreError> {
        // Not every address comes from settings that were read: flags and code name some.
        if let Some(problem) = settings.url_problem() {
            let problem = format!("`redis.url` {problem}");
            return Err(StoreError::Config { problem, source: None });
        }
        let sentinel = SentinelUrl::parse(&settings.url)
            .map_err(|problem| StoreError::Config { problem: problem.to_owned(), source: None })?;
        let (target, address) = match sentinel {
            None => {
                let info = info(&settings.url, settings)?;
                let address = address(info.addr());
                (Target::Fixed(info), address)
            }
            Some(url) => {
                let like = info(&url.like, settings)?;
                let nodes = url.nodes.iter().map(|node| client(info(node, settings)?));
                let nodes = nodes.collect::<Result<_, _>>()?;
                let address = format!("the primary of `{}`, by its Sentinels", url.service);
                let sentinels = Sentinels::new(nodes, url.service, settings.connect_timeout);
                (Target::Sentinels { sentinels, like }, address)
            }
        };
        Ok(Self {
            target,
            address: address.into(),
            name: name.into(),
            connect_timeout: settings.connect_timeout,
            response_timeout: settings.response_timeout,
            losses: watch::Sender::new(0),
        })
    }

    /// Where Redis is looked for; no password.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// That there is no connection that is of use; `source`: why, if an attempt was made.
    pub(super) fn unreachable(&self, source: Option<Arc<redis::RedisError>>) -> StoreError {
        StoreError::Unreachable { address: self.address.to_string(), source }
    }

    /// How long one attempt to connect may take.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// How long one command may wait for its reply.
    pub(super) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// A connection whose pushed messages go to `sink`, which must not block.
    pub(super) async fn open_with_pushes(
        &self,
        sink: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<(MultiplexedConnection, Peer), StoreError> {
        let config = self.config().set_response_timeout(Some(self.response_timeout));
        let config = config.set_push_sender(move |push| {
            sink(push);
            Ok::<(), redis::aio::SendError>(())
        });
        self.connect(ProtocolVersion::RESP3, &config).await
    }

    /// A connection for one blocking command at a time.
    ///
    /// Without the driver's response timeout: at its default the driver gives up while the server
    /// goes on waiting, and what the server then pops is lost (redis-rs issue 1924).
    pub(super) async fn open_blocking(&self) -> Result<(MultiplexedConnection, Peer), StoreError> {
        self.connect(ProtocolVersion::RESP2, &self.config().set_response_timeout(None)).await
    }

    /// Returns when the server at `peer` is not the primary any more, as far as Sentinels know.
    pub(super) async fn moved(&self, peer: &Peer) {
        match (&self.target, &peer.0) {
            (Target::Sentinels { sentinels, .. }, Some(primary)) => sentinels.moved(primary).await,
            _ => std::future::pending().await,
        }
    }

    /// Tells the other connections that this one was lost: a network that swallows what is sent
    /// on one of them does so with all, and whoever only listens would notice last.
    pub(super) fn lost_one(&self) {
        self.losses.send_modify(|count| *count += 1);
    }

    /// Changes when a connection is lost from now on.
    pub(super) fn losses(&self) -> watch::Receiver<u64> {
        self.losses.subscribe()
    }

    /// A pool for commands that people ask for, to the server of the moment; see
    /// [`super::inspect`].
    pub(super) async fn pool(
        &self,
        size: usize,
    ) -> Result<(deadpool_redis::Pool, Peer), StoreError> {
        let (info, peer) = self.find().await?;
        let config = self.config().set_response_timeout(Some(self.response_timeout));
        let manager = deadpool_redis::Manager::new_with_config(info, config);
        let pool = deadpool_redis::Pool::builder(manager.map_err(|error| self::config(&error))?)
            .max_size(size)
            .build()
            .map_err(|error| StoreError::Config { problem: error.to_string(), source: None })?;
        Ok((pool, peer))
    }

    /// Has Redis close the connection `id` of ours, so that nothing it has sent before is carried
    /// out from now on: what the network holds back may come seconds after we gave it up.
    ///
    /// After a restart of Redis ids begin anew; a connection of another name is left alone.
    pub(super) async fn cut(
        &self,
        conn: &mut MultiplexedConnection,
        id: i64,
    ) -> Result<(), StoreError> {
        let list = redis::cmd("CLIENT").arg("LIST").arg("ID").arg(id).to_owned();
        let list: String = list.query_async(conn).await?;
        if list.contains(&format!(" name={} ", self.name)) {
            let kill = redis::cmd("CLIENT").arg("KILL").arg("ID").arg(id).to_owned();
            kill.exec_async(conn).await?;
        }
        Ok(())
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_pipeline_buffer_size(1024)
            .set_write_backpressure_boundary(64 << 10)
    }

    /// Where the server is now.
    async fn find(&self) -> Result<(ConnectionInfo, Peer), StoreError> {
        match &self.target {
            Target::Fixed(info) => Ok((info.clone(), Peer(None))),
            Target::Sentinels { sentinels, like } => {
                let primary = sentinels.primary().await?;
                let addr = match like.addr() {
                    ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                        host: primary.host.clone(),
                        port: primary.port,
                        insecure: *insecure,
                        tls_params: tls_params.clone(),
                    },
                    _ => ConnectionAddr::Tcp(primary.host.clone(), primary.port),
                };
                Ok((like.clone().set_addr(addr), Peer(Some(primary))))
            }
        }
    }

    async fn connect(
        &self,
        protocol: ProtocolVersion,
        config: &AsyncConnectionConfig,
    ) -> Result<(MultiplexedConnection, Peer), StoreError> {
        let (info, peer) = self.find().await?;
        let address = match &peer.0 {
            None => address(info.addr()),
            // What was tried is one server, which the Sentinels have named.
            Some(_) => format!("{}, {}", address(info.addr()), self.address),
        };
        let redis = info.redis_settings().clone().set_protocol(protocol);
        let client = client(info.set_redis_settings(redis))?;
        let unreachable = |error: redis::RedisError| match StoreError::from(error) {
            StoreError::Lost(source) if is_mistrust(&source) => {
                StoreError::Untrusted { address: address.clone(), source }
            }
            StoreError::Lost(source) => {
                StoreError::Unreachable { address: address.clone(), source: Some(source) }
            }
            other => other,
        };
        let connecting = async {
            let mut conn = client.get_multiplexed_async_connection_with_config(config).await?;
            let mut greeting = redis::pipe();
            greeting.cmd("CLIENT").arg("SETNAME").arg(&*self.name).ignore();
            greeting.cmd("EVAL").arg(MAY_WRITE).arg(0).ignore();
            // Bounded here as well: a blocking connection has no response timeout of its own.
            let greeted = timeout(self.connect_timeout, greeting.exec_async(&mut conn)).await;
            greeted
                .unwrap_or_else(|_| {
                    Err((redis::ErrorKind::Io, "no answer to the first command").into())
                })
                .map(|()| conn)
        };
        tokio::select! {
            connected = connecting => Ok((connected.map_err(unreachable)?, peer)),
            // The server of before may stand still, and never say so.
            () = self.moved(&peer) => Err(self.unreachable(None)),
        }
    }
}

/// Whether a certificate was refused: another name than was connected to, an authority that is not
/// known, a time that is over.
fn is_mistrust(error: &redis::RedisError) -> bool {
    // As the driver keeps the errors of others.
    type Kept = Arc<dyn Error + Send + Sync>;
    let kept = error.source().and_then(|source| source.downcast_ref::<Kept>());
    kept.is_some_and(|kept| refused_certificate(&**kept))
}

/// Whether an error of a connection, or a cause of it, is that a certificate was refused.
#[must_use]
pub fn refused_certificate(error: &(dyn Error + 'static)) -> bool {
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let inner: Option<&(dyn Error + 'static)> = match inner {
        Some(inner) => Some(inner),
        None => error.source(),
    };
    matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
        || inner.is_some_and(refused_certificate)
}

/// Tries again beside an attempt to connect that takes long: a network that has lost its routes
/// and got them back answers who asks anew, long before it answers who asked before.
pub(super) async fn hedged<T, F>(attempt: impl Fn() -> F, within: Duration) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    const AGAIN_AFTER: Duration = Duration::from_millis(500);
    let mut attempts = FuturesUnordered::new();
    attempts.push(attempt());
    let until = Instant::now() + within;
    loop {
        tokio::select! {
            Some(tried) = attempts.next() => if tried.is_ok() || attempts.is_empty() {
                return tried;
            },
            () = sleep(AGAIN_AFTER), if Instant::now() < until => attempts.push(attempt()),
        }
    }
}

/// Reads an address, and the certificates if it is one with TLS.
fn info(url: &str, settings: &RedisSettings) -> Result<ConnectionInfo, StoreError> {
    let info = url.into_connection_info().map_err(|error| config(&error))?;
    let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let ConnectionAddr::TcpTls { .. } = info.addr() else { return Ok(info) };
    let client = Client::build_with_tls(info, certificates(settings)?);
    Ok(client.map_err(|error| config(&error))?.get_connection_info().clone())
}

fn client(info: ConnectionInfo) -> Result<Client, StoreError> {
    Client::open(info).map_err(|error| config(&error))
}

fn address(addr: &ConnectionAddr) -> String {
    match addr {
        ConnectionAddr::Tcp(host, port) => format!("{host}:{port}"),
        ConnectionAddr::TcpTls { host, port, .. } => format!("{host}:{port} (TLS)"),
        ConnectionAddr::Unix(path) => path.display().to_string(),
        _ => "an address of unknown kind".into(),
    }
}

fn config(error: &redis::RedisError) -> StoreError {
    StoreError::Config { problem: error.to_string(), source: Some(Arc::new(error.clone())) }
}

/// Has TLS use ring, unless the program has set something else already: redis-rs and others bring
/// rustls without a crypto provider, and panic when none is set.
pub fn set_crypto_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn certificates(settings: &RedisSettings) -> Result<TlsCertificates, StoreError> {
    set_crypto_provider();
    let client_tls = match (&settings.cert_file, &settings.key_file) {
        (Some(cert), Some(key)) => {
            Some(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? })
        }
        _ => None,
    };
    let root_cert = settings.ca_file.as_deref().map(read).transpose()?;
    Ok(TlsCertificates { client_tls, root_cert })
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(|error| StoreError::Config {
        problem: format!("{}: {error}", path.display()),
        source: None,
    })
}
