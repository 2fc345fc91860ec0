//! Opening connections: address, TLS, names, timeouts. What is done with them stands elsewhere.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo,
    IntoConnectionInfo, ProtocolVersion, PushInfo, TlsCertificates,
};

use super::error::StoreError;
use crate::settings::RedisSettings;

/// Opens connections to one Redis under one client name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connector {
    client: Client,
    address: Arc<str>,
    name: Arc<str>,
    connect_timeout: Duration,
    response_timeout: Duration,
}

impl Connector {
    /// Reads the settings (and certificate files); connects to nothing yet. `name` is what
    /// `CLIENT LIST` shows.
    ///
    /// # Errors
    ///
    /// [`StoreError::Config`] when URL or certificates cannot be used.
    pub fn new(settings: &RedisSettings, name: &str) -> Result<Self, StoreError> {
        let info = settings.url.as_str().into_connection_info().map_err(|error| config(&error))?;
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let address: Arc<str> = address(info.addr()).into();
        let client = match info.addr() {
            ConnectionAddr::TcpTls { .. } => tls_client(info, settings)?,
            _ => Client::open(info).map_err(|error| config(&error))?,
        };
        Ok(Self {
            client,
            address,
            name: name.into(),
            connect_timeout: settings.connect_timeout,
            response_timeout: settings.response_timeout,
        })
    }

    /// Where Redis is looked for; no password.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A connection whose pushed messages go to `sink`, which must not block.
    pub(super) async fn open_with_pushes(
        &self,
        sink: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, StoreError> {
        let info = self.client.get_connection_info().clone();
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client =
            Client::open(info.set_redis_settings(redis)).map_err(|error| config(&error))?;
        let config = self.config().set_response_timeout(Some(self.response_timeout));
        let config = config.set_push_sender(move |push| {
            sink(push);
            Ok::<(), redis::aio::SendError>(())
        });
        self.connect(&client, &config).await
    }

    /// A connection for one blocking command at a time.
    ///
    /// Without the driver's response timeout: at its default the driver gives up while the server
    /// goes on waiting, and what the server then pops is lost (redis-rs issue 1924).
    pub(super) async fn open_blocking(&self) -> Result<MultiplexedConnection, StoreError> {
        self.connect(&self.client, &self.config().set_response_timeout(None)).await
    }

    /// A pool for commands that people ask for; see [`super::inspect`].
    pub(super) fn pool(&self, size: usize) -> Result<deadpool_redis::Pool, StoreError> {
        let config = self.config().set_response_timeout(Some(self.response_timeout));
        let info = self.client.get_connection_info().clone();
        let manager = deadpool_redis::Manager::new_with_config(info, config)
            .map_err(|error| self::config(&error))?;
        deadpool_redis::Pool::builder(manager)
            .max_size(size)
            .build()
            .map_err(|error| StoreError::Config { problem: error.to_string(), source: None })
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

    async fn connect(
        &self,
        client: &Client,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, StoreError> {
        let unreachable = |error: redis::RedisError| match StoreError::from(error) {
            StoreError::Lost(source) => {
                StoreError::Unreachable { address: self.address.to_string(), source: Some(source) }
            }
            other => other,
        };
        let connecting = client.get_multiplexed_async_connection_with_config(config);
        let mut conn = connecting.await.map_err(unreachable)?;
        let named = redis::cmd("CLIENT").arg("SETNAME").arg(&*self.name).to_owned();
        // Bounded here as well: a blocking connection has no response timeout of its own.
        let naming = tokio::time::timeout(self.connect_timeout, named.exec_async(&mut conn));
        match naming.await {
            Ok(done) => done.map_err(unreachable)?,
            Err(_) => {
                let address = self.address.to_string();
                return Err(StoreError::Unreachable { address, source: None });
            }
        }
        Ok(conn)
    }
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

fn tls_client(info: ConnectionInfo, settings: &RedisSettings) -> Result<Client, StoreError> {
    // redis-rs brings rustls without a crypto provider and panics when none is set. An error
    // here means that the program has set one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client_tls = match (&settings.cert_file, &settings.key_file) {
        (Some(cert), Some(key)) => {
            Some(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? })
        }
        _ => None,
    };
    let root_cert = settings.ca_file.as_deref().map(read).transpose()?;
    let certificates = TlsCertificates { client_tls, root_cert };
    Client::build_with_tls(info, certificates).map_err(|error| config(&error))
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(|error| StoreError::Config {
        problem: format!("{}: {error}", path.display()),
        source: None,
    })
}
