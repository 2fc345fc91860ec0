//! Opening connections: address, TLS, names, timeouts. Callers decide how to use them.

use std::error::Error;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline,
    ProtocolVersion, PushInfo,
};
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::certificates::{certificates, config};
use super::direct::{self, Direct};
use super::sentinel::{Primary, Sentinels};
use crate::driver::OrStore;
use crate::error::{Cause, StoreError};
use crate::script::Script;
use redcall_common::settings::{RedisSettings, SentinelUrl};

/// First script on every connection: if Redis refuses it, nothing can be queued or settled. It
/// writes nothing, but Redis treats it as a script that may.
const MAY_WRITE: &str = "#!lua flags=allow-oom\nreturn 1";

/// Opens connections to one Redis under one client name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connector {
    target: Target,
    address: Arc<str>,
    name: Arc<str>,
    /// The trust of direct connections, if they use TLS.
    tls: Option<Arc<ClientConfig>>,
    connect_timeout: Duration,
    response_timeout: Duration,
    /// Counts lost connections. Written by the task that loses one.
    losses: watch::Sender<u64>,
}

/// Where the server is.
#[derive(Debug, Clone)]
enum Target {
    Fixed(ConnectionInfo),
    /// One of many addresses. `like` holds the settings of a connection to each.
    Sentinels {
        sentinels: Arc<Sentinels>,
        like: ConnectionInfo,
    },
}

/// Which server a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer(Option<Primary>);

impl Connector {
    /// Reads the settings and certificate files. Does not connect. `CLIENT LIST` shows `name`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Config`] if the URL or the certificates are invalid.
    pub fn new(settings: &RedisSettings, name: &str) -> Result<Self, StoreError> {
        // Flags and code give addresses that no settings check has seen.
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
        let (Target::Fixed(like) | Target::Sentinels { like, .. }) = &target;
        let is_tls = matches!(like.addr(), ConnectionAddr::TcpTls { .. });
        let tls = is_tls.then(|| direct::trust(settings)).transpose()?;
        Ok(Self {
            target,
            tls,
            address: address.into(),
            name: name.into(),
            connect_timeout: settings.connect_timeout,
            response_timeout: settings.response_timeout,
            losses: watch::Sender::new(0),
        })
    }

    /// Returns the address of Redis or its Sentinels, without password.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the error for a missing connection. `source` is the error of the last attempt.
    pub(crate) fn unreachable(&self, source: Option<Arc<Cause>>) -> StoreError {
        StoreError::Unreachable { address: self.address.to_string(), source }
    }

    /// Returns the time limit of one attempt to connect.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Returns the time limit of one command's reply.
    pub(crate) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// Opens a connection whose pushed messages go to `sink`, which must not block.
    pub(crate) async fn open_with_pushes(
        &self,
        sink: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<(MultiplexedConnection, Peer), StoreError> {
        let config = self.config().set_response_timeout(Some(self.response_timeout));
        let config = config.set_push_sender(move |push| {
            sink(push);
            Ok::<(), redis::aio::SendError>(())
        });
        self.connect(ProtocolVersion::RESP3, &config, &self.greeting()).await
    }

    /// Opens a connection for one blocking command at a time.
    ///
    /// It has no response timeout of the driver: at its default the driver gives up while the
    /// server still waits, and an element that the server pops then is lost (redis-rs issue 1924).
    pub(crate) async fn open_blocking(&self) -> Result<(MultiplexedConnection, Peer), StoreError> {
        let config = self.config().set_response_timeout(None);
        self.connect(ProtocolVersion::RESP2, &config, &self.greeting()).await
    }

    /// Opens a connection without the driver's task, and loads scripts. `previous` is the id of its
    /// owner's last one, which Redis closes first; 0 for none. Returns the new id, too.
    pub(crate) async fn open_direct(
        &self,
        previous: i64,
        scripts: &[&'static LazyLock<Script>],
    ) -> Result<(Direct, Peer, i64), StoreError> {
        let (info, peer) = self.find().await?;
        let connecting = async {
            let mut direct = Direct::connect(&info, self.tls.as_ref()).await?;
            direct.run_all(&self.greeting()).await?;
            if previous != 0 {
                self.cut_directly(&mut direct, previous).await?;
            }
            let mut pipe = redis::pipe();
            for script in scripts {
                pipe.cmd("SCRIPT").arg("LOAD").arg(script.text());
            }
            pipe.cmd("CLIENT").arg("ID");
            let id = direct.run_all(&pipe).await?.pop().unwrap_or_default();
            Ok((direct, redis::from_redis_value(id)?))
        };
        let connecting = async {
            let silent = Err((redis::ErrorKind::Io, "no answer to the first command").into());
            timeout(self.connect_timeout, connecting).await.unwrap_or(silent)
        };
        tokio::select! {
            connected = connecting => match connected {
                Ok((direct, id)) => Ok((direct, peer, id)),
                Err(error) => Err(self.refused(&info, &peer, error)),
            },
            // The previous server may stall without closing the connection.
            () = self.moved(&peer) => Err(self.unreachable(None)),
        }
    }

    /// As [`Connector::cut`].
    async fn cut_directly(&self, direct: &mut Direct, id: i64) -> Result<(), redis::RedisError> {
        let mut pipe = redis::pipe();
        pipe.cmd("CLIENT").arg("LIST").arg("ID").arg(id);
        let list = direct.run_all(&pipe).await?.pop().unwrap_or_default();
        if redis::from_redis_value::<String>(list)?.contains(&format!(" name={} ", self.name)) {
            let mut pipe = redis::pipe();
            pipe.cmd("CLIENT").arg("KILL").arg("ID").arg(id);
            direct.run_all(&pipe).await?;
        }
        Ok(())
    }

    /// Returns when the Sentinels name another primary than the server at `peer`.
    pub(crate) async fn moved(&self, peer: &Peer) {
        match (&self.target, &peer.0) {
            (Target::Sentinels { sentinels, .. }, Some(primary)) => sentinels.moved(primary).await,
            _ => std::future::pending().await,
        }
    }

    /// Notifies the other connections of this loss: a network that drops one connection's packets
    /// drops them all, and a connection that only listens would notice last.
    pub(crate) fn lost_one(&self) {
        self.losses.send_modify(|count| *count += 1);
    }

    /// Returns a channel that changes with each connection that is lost from now on.
    pub(crate) fn losses(&self) -> watch::Receiver<u64> {
        self.losses.subscribe()
    }

    /// Opens a connection for inspection commands, to the current primary. See [`crate::inspect`].
    pub(crate) async fn open(&self) -> Result<(MultiplexedConnection, Peer), StoreError> {
        let config = self.config().set_response_timeout(Some(self.response_timeout));
        // Without a greeting: an inspection may only read, also from a server that refuses writes.
        self.connect(ProtocolVersion::RESP2, &config, &redis::pipe()).await
    }

    /// Closes our connection `id` at Redis, so that Redis runs no more of its commands: the network
    /// may deliver them seconds after we gave the connection up.
    ///
    /// Ids restart with Redis, so a connection of another name is kept.
    pub(crate) async fn cut(
        &self,
        conn: &mut MultiplexedConnection,
        id: i64,
    ) -> Result<(), StoreError> {
        let list = redis::cmd("CLIENT").arg("LIST").arg("ID").arg(id).to_owned();
        let list: String = list.query_async(conn).await.or_store()?;
        if list.contains(&format!(" name={} ", self.name)) {
            let kill = redis::cmd("CLIENT").arg("KILL").arg("ID").arg(id).to_owned();
            kill.exec_async(conn).await.or_store()?;
        }
        Ok(())
    }

    /// Returns the first commands of a connection: its name, and a check that Redis accepts writes.
    fn greeting(&self) -> Pipeline {
        let mut greeting = redis::pipe();
        greeting.cmd("CLIENT").arg("SETNAME").arg(&*self.name).ignore();
        greeting.cmd("EVAL").arg(MAY_WRITE).arg(0).ignore();
        greeting
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_pipeline_buffer_size(1024)
            .set_write_backpressure_boundary(64 << 10)
    }

    /// Finds the server's current address.
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
        greeting: &Pipeline,
    ) -> Result<(MultiplexedConnection, Peer), StoreError> {
        let (info, peer) = self.find().await?;
        let redis = info.redis_settings().clone().set_protocol(protocol);
        let client = client(info.clone().set_redis_settings(redis))?;
        let connecting = async {
            let mut conn = client.get_multiplexed_async_connection_with_config(config).await?;
            if greeting.is_empty() {
                return Ok(conn);
            }
            // Bounded here too: a blocking connection has no response timeout of its own.
            let greeted = timeout(self.connect_timeout, greeting.exec_async(&mut conn)).await;
            greeted
                .unwrap_or_else(|_| {
                    Err((redis::ErrorKind::Io, "no answer to the first command").into())
                })
                .map(|()| conn)
        };
        tokio::select! {
            connected = connecting => match connected {
                Ok(conn) => Ok((conn, peer)),
                Err(error) => Err(self.refused(&info, &peer, error)),
            },
            // The previous server may stall without closing the connection.
            () = self.moved(&peer) => Err(self.unreachable(None)),
        }
    }

    /// Returns the error of an attempt to connect.
    fn refused(&self, info: &ConnectionInfo, peer: &Peer, error: redis::RedisError) -> StoreError {
        let address = match &peer.0 {
            None => address(info.addr()),
            // The attempt went to one server, which the Sentinels named.
            Some(_) => format!("{}, {}", address(info.addr()), self.address),
        };
        let is_mistrust = is_mistrust(&error);
        match StoreError::of_driver(error) {
            StoreError::Lost(source) if is_mistrust => StoreError::Untrusted { address, source },
            StoreError::Lost(source) => StoreError::Unreachable { address, source: Some(source) },
            other => other,
        }
    }
}

/// Returns the id of this run of the server and that of its data, which changes if it becomes a
/// replica meanwhile; `None` if the user may not request them.
pub(crate) async fn run_id(conn: &mut MultiplexedConnection) -> Option<Arc<str>> {
    let call = redis::cmd("INFO").arg("server").arg("replication").to_owned();
    let info: String = call.query_async(conn).await.ok()?;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    Some([field("run_id:")?, field("master_replid:")?].join(" ").into())
}

/// Returns `true` if the certificate was refused: wrong host name, unknown authority, or expired.
fn is_mistrust(error: &redis::RedisError) -> bool {
    // The type in which the driver wraps errors of other crates.
    type WrappedError = Arc<dyn Error + Send + Sync>;
    let kept = error.source().and_then(|source| source.downcast_ref::<WrappedError>());
    kept.is_some_and(|kept| refused_certificate(&**kept))
}

/// Returns `true` if the error, or one of its causes, is a refused certificate.
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

/// Starts a second attempt alongside one that takes long: after a network outage a new connection
/// succeeds long before the old attempt does.
pub(crate) async fn hedged<T, F>(
    attempt: impl Fn() -> F,
    timeout: Duration,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    const AGAIN_AFTER: Duration = Duration::from_millis(500);
    let mut attempts = FuturesUnordered::new();
    attempts.push(attempt());
    let until = Instant::now() + timeout;
    loop {
        tokio::select! {
            Some(tried) = attempts.next() => if tried.is_ok() || attempts.is_empty() {
                return tried;
            },
            () = sleep(AGAIN_AFTER), if Instant::now() < until => attempts.push(attempt()),
        }
    }
}

/// Reads an address, with the certificates if it uses TLS.
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
