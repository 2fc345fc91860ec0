//! The current primary, as the Sentinels report it.
//!
//! This replaces the driver's code, which opens new connections for each query without a time
//! limit, and trusts the first reply.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::error::{Cause, StoreError};

/// The period of queries for the current primary.
const QUERY_PERIOD: Duration = Duration::from_millis(250);
/// How long the others may reply after the first reply: a Sentinel that was cut off names the old
/// primary.
const REPLY_GRACE: Duration = Duration::from_millis(50);

/// A primary, with the epoch of the failover that promoted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Primary {
    epoch: u64,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The Sentinels of one deployment.
pub(crate) struct Sentinels {
    nodes: Vec<Node>,
    service: String,
    timeout: Duration,
    /// Written by each query, never with an older epoch; read by all connections.
    known: watch::Sender<Option<Primary>>,
    watched: AtomicBool,
}

/// One Sentinel, with its connection while it is open.
struct Node {
    client: Client,
    conn: Mutex<Option<MultiplexedConnection>>,
}

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = &*self.known.borrow();
        f.debug_struct("Sentinels").field("service", &self.service).field("known", known).finish()
    }
}

impl Sentinels {
    /// Creates the group without a query. A query takes at most `timeout`.
    pub(crate) fn new(nodes: Vec<Client>, service: String, timeout: Duration) -> Arc<Self> {
        let node = |client| Node { client, conn: Mutex::default() };
        Arc::new(Self {
            nodes: nodes.into_iter().map(node).collect(),
            service,
            timeout,
            known: watch::Sender::new(None),
            watched: AtomicBool::new(false),
        })
    }

    /// Queries all Sentinels; the reply with the latest failover counts. From the first query on, a
    /// task of this runtime repeats it, for [`Sentinels::moved`].
    pub(crate) async fn primary(self: &Arc<Self>) -> Result<Primary, StoreError> {
        if !self.watched.swap(true, Ordering::Relaxed) {
            tokio::spawn(watch_over(Arc::downgrade(self)));
        }
        self.query().await
    }

    /// Returns when another server than `primary` is the primary.
    pub(crate) async fn moved(&self, primary: &Primary) {
        let mut known = self.known.subscribe();
        let is_another = |known: &Option<Primary>| {
            known.as_ref().is_some_and(|known| {
                known.epoch >= primary.epoch
                    && (&known.host, known.port) != (&primary.host, primary.port)
            })
        };
        if known.wait_for(is_another).await.is_err() {
            std::future::pending().await
        }
    }

    async fn query(&self) -> Result<Primary, StoreError> {
        let mut queries: FuturesUnordered<_> =
            self.nodes.iter().map(|node| node.query(&self.service, self.timeout)).collect();
        let mut until = Instant::now() + self.timeout;
        let (mut best, mut failed) = (None::<Primary>, None);
        while let Ok(Some(reply)) = timeout_at(until, queries.next()).await {
            match reply {
                Ok(primary) => {
                    until = until.min(Instant::now() + REPLY_GRACE);
                    if best.as_ref().is_none_or(|best| best.epoch < primary.epoch) {
                        best = Some(primary);
                    }
                }
                Err(error) => failed = error.or(failed),
            }
        }
        let Some(best) = best else {
            return Err(StoreError::NoPrimary {
                service: self.service.clone(),
                source: failed.map(Cause::of_driver),
            });
        };
        self.known.send_if_modified(|known| {
            let is_news =
                known.as_ref().is_none_or(|known| known.epoch <= best.epoch && *known != best);
            if is_news {
                *known = Some(best.clone());
            }
            is_news
        });
        Ok(best)
    }
}

/// Queries the Sentinels while a connector exists.
async fn watch_over(sentinels: Weak<Sentinels>) {
    loop {
        sleep(QUERY_PERIOD).await;
        let Some(sentinels) = sentinels.upgrade() else { return };
        if let Err(error) = sentinels.query().await {
            tracing::debug!(%error, "no Sentinel names the primary");
        }
    }
}

impl Node {
    /// Returns the primary that this Sentinel names; the error is `None` if it does not know the
    /// service.
    async fn query(&self, service: &str, timeout: Duration) -> Result<Primary, Option<RedisError>> {
        let kept = self.kept().take();
        let mut conn = match kept {
            Some(conn) => conn,
            None => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(timeout))
                    .set_response_timeout(Some(timeout));
                self.client.get_multiplexed_async_connection_with_config(&config).await?
            }
        };
        let command = redis::cmd("SENTINEL").arg("MASTER").arg(service).to_owned();
        let fields: Vec<(String, String)> = command.query_async(&mut conn).await?;
        *self.kept() = Some(conn);
        let field = |name: &str| Some(&fields.iter().find(|(field, _)| field == name)?.1);
        let read = || {
            Some(Primary {
                epoch: field("config-epoch")?.parse().ok()?,
                host: field("ip")?.clone(),
                port: field("port")?.parse().ok()?,
            })
        };
        read().ok_or(None)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<MultiplexedConnection>> {
        // The value is one connection or none, valid even after a panic.
        self.conn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
