//! Waits until a request reaches its durability level. One WAIT or WAITAOF serves all callers, over
//! a connection of its own, since Redis blocks that connection.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::durability::Durability;
use redcall_common::keys::QueueKeys;
use redcall_store::{Connection, ConnectionId, Connector, SendOps as _, Session as _, StoreError};
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::engine::deadline::left_until;

/// How long one check blocks. Callers with time left join the next one.
const WAIT_TIMEOUT: Duration = Duration::from_millis(200);
/// Maximum number of callers per check.
const CHECKS_MAX: usize = 1024;

/// The durability waiters of a client, by level; each connects on first use.
pub(crate) struct DurabilityWaiters {
    connector: Connector,
    replicated: OnceCell<DurabilityWaiter>,
    fsynced: OnceCell<DurabilityWaiter>,
}

/// Checks durability for all callers of a client. Its task ends with it.
struct DurabilityWaiter {
    link: Arc<Connection>,
    checks: mpsc::Sender<Check>,
}

struct Check {
    keys: Arc<QueueKeys>,
    reached: oneshot::Sender<bool>,
}

/// The server that gets a request, as seen by the sending and the waiting connection. If either
/// reconnects, the check may have gone to another server than the request.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ReplicationTarget {
    sends: ConnectionId,
    waits: ConnectionId,
}

impl DurabilityWaiters {
    pub(crate) fn new(connector: Connector) -> Self {
        Self { connector, replicated: OnceCell::new(), fsynced: OnceCell::new() }
    }

    fn of(&self, level: Durability) -> Option<&OnceCell<DurabilityWaiter>> {
        match level {
            Durability::Memory => None,
            Durability::Replicated => Some(&self.replicated),
            Durability::Fsynced => Some(&self.fsynced),
        }
    }

    /// Verifies that the server of `sends` can confirm `level`, and returns the target of a request
    /// sent now. `None` if `level` needs no confirmation.
    pub(crate) async fn prepare(
        &self,
        sends: &Connection,
        level: Durability,
        deadline: Instant,
    ) -> Result<Option<ReplicationTarget>, StoreError> {
        let Some(cell) = self.of(level) else { return Ok(None) };
        let connect =
            || DurabilityWaiter::connect(self.connector.clone(), level, left_until(deadline));
        let waiter = cell.get_or_try_init(connect).await?;
        // Without both connections, the target is unknown.
        sends.wait_up(left_until(deadline)).await;
        waiter.link.wait_up(left_until(deadline)).await;
        Ok(waiter.target(sends))
    }

    /// Returns the level reached by a request sent to `target`.
    pub(crate) async fn reached(
        &self,
        sends: &Connection,
        keys: &Arc<QueueKeys>,
        level: Durability,
        target: Option<ReplicationTarget>,
        deadline: Instant,
    ) -> Durability {
        let (Some(waiter), Some(target)) = (self.of(level).and_then(OnceCell::get), target) else {
            return Durability::Memory;
        };
        let reached = waiter.reached(keys, deadline).await;
        if reached && waiter.target(sends) == Some(target) { level } else { Durability::Memory }
    }
}

impl DurabilityWaiter {
    /// Connects, and verifies that the server can confirm `level`.
    async fn connect(
        connector: Connector,
        level: Durability,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let link =
            Arc::new(Connection::connect(connector, Arc::new(|_: &[u8], _: &[u8]| ())).await?);
        link.supports(level, timeout).await?;
        let (sender, checks) = mpsc::channel(CHECKS_MAX);
        tokio::spawn(run(link.clone(), level, checks));
        Ok(Self { link, checks: sender })
    }

    fn target(&self, sends: &Connection) -> Option<ReplicationTarget> {
        let (sends, waits) = (sends.standing()?, self.link.standing()?);
        sends.is_with(&waits).then_some(ReplicationTarget { sends, waits })
    }

    /// Returns `true` if all earlier writes reach the level by `deadline`.
    async fn reached(&self, keys: &Arc<QueueKeys>, deadline: Instant) -> bool {
        while Instant::now() < deadline {
            let (reached, answer) = oneshot::channel();
            let checking = async {
                self.checks.send(Check { keys: keys.clone(), reached }).await.ok()?;
                answer.await.ok()
            };
            match timeout_at(deadline, checking).await {
                Ok(Some(true)) => return true,
                Ok(Some(false)) => {}
                Ok(None) | Err(_) => return false,
            }
        }
        false
    }
}

/// Checks until all senders are dropped.
async fn run(link: Arc<Connection>, level: Durability, mut checks: mpsc::Receiver<Check>) {
    let mut batch: Vec<Check> = Vec::with_capacity(CHECKS_MAX);
    while checks.recv_many(&mut batch, CHECKS_MAX).await > 0 {
        let Some(first) = batch.first() else { continue };
        let reached = match link.confirm(&first.keys, level, WAIT_TIMEOUT).await {
            Ok(reached) => reached,
            Err(error) => {
                tracing::debug!(%error, %level, "durability check failed");
                // An immediate refusal must not cause a busy loop.
                sleep(WAIT_TIMEOUT).await;
                false
            }
        };
        for check in batch.drain(..) {
            let _ = check.reached.send(reached);
        }
    }
}
