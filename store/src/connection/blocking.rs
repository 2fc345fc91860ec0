//! A dedicated connection for blocking commands: the common part of pops and watches.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::time::timeout;

use super::connector::{Connector, Peer, hedged};
use super::link::Connection;
use crate::driver::OrStore;
use crate::error::StoreError;
use crate::script::Script;

/// The time after the blocking command's own timeout at which the connection counts as dead. A
/// server may answer seconds late (go-redis issue 647).
pub(crate) const GRACE: Duration = Duration::from_secs(3);
/// The time limit for connecting, above the connect timeout's default of 5 s.
const OPEN_TIMEOUT: Duration = Duration::from_secs(8);

/// A connection, and its server.
type Conn = (MultiplexedConnection, Peer);

/// A connection for blocking commands. Connects at the first use.
#[derive(Debug)]
pub(crate) struct Blocking {
    connector: Connector,
    conn: Option<Conn>,
    unblocker: Unblocker,
    /// Changes when another connection is lost after this one was opened.
    losses: watch::Receiver<u64>,
    what: Use,
}

/// The purpose of a blocking connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    /// The scripts that run on it.
    pub(crate) scripts: &'static [&'static LazyLock<Script>],
    /// `true` if Redis has to close the previous connection before a new one is used: its commands
    /// that Redis has not read yet must not run.
    pub(crate) cuts: bool,
}

/// Names a blocking connection, so that another task can end its wait: [`crate::Session::unblock`].
#[derive(Debug, Clone, Default)]
pub struct Unblocker(Arc<AtomicI64>);

impl Blocking {
    pub(crate) fn new(connector: Connector, what: Use) -> Self {
        let losses = connector.losses();
        Self { connector, conn: None, unblocker: Unblocker::default(), losses, what }
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(crate) fn unblocker(&self) -> Unblocker {
        self.unblocker.clone()
    }

    /// Returns `true` if the next use has the same connection as the last one.
    pub(crate) fn stands(&self) -> bool {
        self.conn.is_some() && !self.is_lost()
    }

    /// Returns `true` if another connection was lost since this one was opened: it may be broken
    /// too.
    fn is_lost(&self) -> bool {
        self.losses.has_changed().unwrap_or(true)
    }

    /// Closes the connection; the next use opens another.
    pub(crate) fn close(&mut self) {
        self.conn = None;
    }

    /// Takes the connection out: a future that is dropped during its use closes it.
    pub(crate) async fn take(&mut self) -> Result<Conn, StoreError> {
        if !self.stands() {
            self.renew().await?;
        }
        self.conn.take().ok_or_else(|| self.silent())
    }

    /// Puts an undamaged connection back.
    pub(crate) fn put_back(&mut self, conn: Conn) {
        self.conn = Some(conn);
    }

    /// Reconnects.
    pub(crate) async fn renew(&mut self) -> Result<(), StoreError> {
        self.conn = None;
        self.losses.mark_unchanged();
        // Bounded here: this connection has no response timeout.
        let opening = hedged(|| self.open(), self.connector.connect_timeout());
        self.conn = Some(timeout(OPEN_TIMEOUT, opening).await.map_err(|_| self.silent())??);
        Ok(())
    }

    async fn open(&self) -> Result<Conn, StoreError> {
        let (mut conn, peer) = self.connector.open_blocking().await?;
        let last = self.unblocker.id();
        if self.what.cuts && last != 0 {
            self.connector.cut(&mut conn, last).await?;
        }
        for script in self.what.scripts {
            script.load(&mut conn).await?;
        }
        let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut conn).await.or_store()?;
        self.unblocker.set(id);
        Ok((conn, peer))
    }

    /// Waits for a command that blocks for `block` on a connection to `peer`.
    pub(crate) async fn wait<T>(
        &self,
        peer: &Peer,
        block: Duration,
        waiting: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut losses = self.losses.clone();
        tokio::select! {
            waited = timeout(block + GRACE, waiting) => waited.map_err(|_| self.silent())?,
            // The old primary receives no more writes.
            () = self.connector.moved(peer) => Err(self.silent()),
            // A blocked connection cannot be checked.
            _ = losses.changed() => Err(self.silent()),
        }
    }

    pub(crate) fn silent(&self) -> StoreError {
        self.connector.unreachable(None)
    }
}

impl Unblocker {
    pub(crate) fn id(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }

    /// Names another connection.
    pub(crate) fn set(&self, id: i64) {
        self.0.store(id, Ordering::Release);
    }
}

impl Connection {
    pub(crate) async fn cut(
        &self,
        unblocker: &Unblocker,
        timeout: Duration,
    ) -> Result<(), StoreError> {
        let id = unblocker.id();
        if id == 0 {
            return Ok(()); // never opened
        }
        let (mut conn, generation) = self.connection(timeout).await?;
        self.note(generation, self.connector().cut(&mut conn, id).await)
    }

    pub(crate) async fn unblock(
        &self,
        unblocker: &Unblocker,
        timeout: Duration,
    ) -> Result<(), StoreError> {
        let call = redis::cmd("CLIENT").arg("UNBLOCK").arg(unblocker.id()).to_owned();
        self.with(timeout, async |conn| call.exec_async(conn).await).await
    }
}
