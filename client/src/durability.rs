//! Waiting until a request is as safe as its caller wants: one question for all who wait, over a
//! connection of its own, since Redis blocks it meanwhile.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::durability::Durability;
use redcall_common::keys::QueueKeys;
use redcall_store::{Connector, Link, Standing, StoreError};
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::request::left_until;

/// How long one question blocks; who has time left checks again with the next ones.
const WAIT_TIMEOUT: Duration = Duration::from_millis(200);
/// How many callers one question is for at most.
const BATCH_MAX: usize = 1024;

/// What a client checks by, level by level; connected when it is first needed.
pub(crate) struct DurabilityWaiters {
    connector: Connector,
    replicated: OnceCell<DurabilityWaiter>,
    fsynced: OnceCell<DurabilityWaiter>,
}

/// Asks for all callers of a client. Its task ends with it.
struct DurabilityWaiter {
    link: Arc<Link>,
    checks: mpsc::Sender<Check>,
}

struct Check {
    keys: Arc<QueueKeys>,
    reached: oneshot::Sender<bool>,
}

/// To which server, over which connections, a request goes. If one of them is another one in the
/// end, the server that was checks may not be the one that got the request.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ReplicationTarget {
    sends: Standing,
    waits: Standing,
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

    /// Makes sure that the server of `sends` can tell when `level` is reached, and says which target
    /// a request goes that is sent now. None for what needs no telling.
    pub(crate) async fn prepare(
        &self,
        sends: &Link,
        level: Durability,
        deadline: Instant,
    ) -> Result<Option<ReplicationTarget>, StoreError> {
        let Some(cell) = self.of(level) else { return Ok(None) };
        let connect =
            || DurabilityWaiter::connect(self.connector.clone(), level, left_until(deadline));
        let waiter = cell.get_or_try_init(connect).await?;
        // Else it would be unknown from the start which target it goes.
        sends.wait_up(left_until(deadline)).await;
        waiter.link.wait_up(left_until(deadline)).await;
        Ok(waiter.target(sends))
    }

    /// How safe the request is that has gone that `target`.
    pub(crate) async fn reached(
        &self,
        sends: &Link,
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
    /// Connects, and makes sure that the server can tell when `level` is reached.
    async fn connect(
        connector: Connector,
        level: Durability,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let link = Arc::new(Link::connect(connector, Arc::new(|_: &[u8], _: &[u8]| ())).await?);
        link.supports(level, timeout).await?;
        let (sender, checks) = mpsc::channel(BATCH_MAX);
        tokio::spawn(run(link.clone(), level, checks));
        Ok(Self { link, checks: sender })
    }

    fn target(&self, sends: &Link) -> Option<ReplicationTarget> {
        let (sends, waits) = (sends.standing()?, self.link.standing()?);
        sends.is_with(&waits).then_some(ReplicationTarget { sends, waits })
    }

    /// Whether everything that was written before is safe by `deadline`.
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

/// Asks until nobody is left to check for.
async fn run(link: Arc<Link>, level: Durability, mut checks: mpsc::Receiver<Check>) {
    let mut batch: Vec<Check> = Vec::with_capacity(BATCH_MAX);
    while checks.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let Some(first) = batch.first() else { continue };
        let reached = match link.confirm(&first.keys, level, WAIT_TIMEOUT).await {
            Ok(reached) => reached,
            Err(error) => {
                tracing::debug!(%error, %level, "whether it is reached cannot be checked");
                // A refusal comes at once, and would be checks for again at once.
                sleep(WAIT_TIMEOUT).await;
                false
            }
        };
        for check in batch.drain(..) {
            let _ = check.reached.send(reached);
        }
    }
}
