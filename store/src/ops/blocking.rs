//! A connection of its own that blocks: what pops and watches share.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::connection::{Connector, Peer, hedged};
use crate::error::StoreError;
use crate::link::Link;
use crate::script::Script;

/// How much later than the blocking command's own time the connection counts as dead. A server
/// may answer seconds late (go-redis issue 647).
const GRACE: Duration = Duration::from_secs(3);
/// How long connecting may take, above the connect timeout's default of 5 s.
const OPEN_WITHIN: Duration = Duration::from_secs(8);

/// A connection, and the server that it goes to.
type Conn = (MultiplexedConnection, Peer);

/// A connection that blocks. Connects at the first use.
#[derive(Debug)]
pub(super) struct Blocking {
    connector: Connector,
    conn: Option<Conn>,
    unblocker: Unblocker,
    /// Of other connections, since this one was made.
    losses: watch::Receiver<u64>,
    what: Use,
}

/// What a blocking connection is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Use {
    /// What runs on it.
    pub(super) scripts: &'static [&'static LazyLock<Script>],
    /// Whether Redis has to close the connection before: what that has sent, and Redis has not
    /// seen yet, must not be carried out any more.
    pub(super) cuts: bool,
}

/// Names a blocking connection, to end its wait from elsewhere: [`Link::unblock`].
#[derive(Debug, Clone, Default)]
pub struct Unblocker(Arc<AtomicI64>);

impl Blocking {
    pub(super) fn new(connector: Connector, what: Use) -> Self {
        let losses = connector.losses();
        Self { connector, conn: None, unblocker: Unblocker::default(), losses, what }
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    pub(super) fn unblocker(&self) -> Unblocker {
        self.unblocker.clone()
    }

    /// Whether the next use is of the same connection as the last one.
    pub(super) fn stands(&self) -> bool {
        self.conn.is_some() && !self.is_lost()
    }

    /// Whether another connection was lost since this one was made: it may be, too.
    fn is_lost(&self) -> bool {
        self.losses.has_changed().unwrap_or(true)
    }

    /// Closes it; the next use opens another.
    pub(super) fn close(&mut self) {
        self.conn = None;
    }

    /// The connection, taken out: who is dropped while using it leaves none behind.
    pub(super) async fn take(&mut self) -> Result<Conn, StoreError> {
        if !self.stands() {
            self.renew().await?;
        }
        self.conn.take().ok_or_else(|| self.silent())
    }

    /// Gives it back: it is as good as before.
    pub(super) fn put_back(&mut self, conn: Conn) {
        self.conn = Some(conn);
    }

    /// Connects anew.
    pub(super) async fn renew(&mut self) -> Result<(), StoreError> {
        self.conn = None;
        self.losses.mark_unchanged();
        // Bounded here: this connection has no response timeout.
        let opening = hedged(|| self.open(), self.connector.connect_timeout());
        self.conn = Some(timeout(OPEN_WITHIN, opening).await.map_err(|_| self.silent())??);
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
        let id: i64 = redis::cmd("CLIENT").arg("ID").query_async(&mut conn).await?;
        self.unblocker.0.store(id, Ordering::Release);
        Ok((conn, peer))
    }

    /// Waits for what blocks on a connection to `peer` for `block`.
    pub(super) async fn wait<T>(
        &self,
        peer: &Peer,
        block: Duration,
        waiting: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut losses = self.losses.clone();
        tokio::select! {
            waited = timeout(block + GRACE, waiting) => waited.map_err(|_| self.silent())?,
            // Nobody will write there any more.
            () = self.connector.moved(peer) => Err(self.silent()),
            // A connection that blocks cannot be asked whether it stands.
            _ = losses.changed() => Err(self.silent()),
        }
    }

    pub(super) fn silent(&self) -> StoreError {
        self.connector.unreachable(None)
    }
}

impl Unblocker {
    fn id(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }
}

impl Link {
    /// Closes the connection that `unblocker` names: what it has sent and Redis has not yet
    /// carried out is not carried out.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn cut(&self, unblocker: &Unblocker, within: Duration) -> Result<(), StoreError> {
        let id = unblocker.id();
        if id == 0 {
            return Ok(()); // it has never been open
        }
        let (mut conn, generation) = self.connection(within).await?;
        self.note(generation, self.connector().cut(&mut conn, id).await)
    }

    /// Ends the wait that `unblocker` names as if its time were over, if it blocks.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn unblock(&self, unblocker: &Unblocker, within: Duration) -> Result<(), StoreError> {
        let call = redis::cmd("CLIENT").arg("UNBLOCK").arg(unblocker.id()).to_owned();
        self.with(within, async |conn| call.exec_async(conn).await).await
    }
}
