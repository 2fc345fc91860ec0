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

/// How long one question blocks; who has time left asks again with the next ones.
const ROUND: Duration = Duration::from_millis(200);
/// How many callers one question is for at most.
const PORTION: usize = 1024;

/// What a client asks by, level by level; connected when it is first needed.
pub(crate) struct Confirmers {
    connector: Connector,
    replicated: OnceCell<Confirmer>,
    fsynced: OnceCell<Confirmer>,
}

/// Asks for all callers of a client. Its task ends with it.
struct Confirmer {
    link: Arc<Link>,
    asks: mpsc::Sender<Ask>,
}

struct Ask {
    keys: Arc<QueueKeys>,
    reached: oneshot::Sender<bool>,
}

/// To which server, over which connections, a request goes. If one of them is another one in the
/// end, the server that was asked may not be the one that got the request.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Way {
    sends: Standing,
    asks: Standing,
}

impl Confirmers {
    pub(crate) fn new(connector: Connector) -> Self {
        Self { connector, replicated: OnceCell::new(), fsynced: OnceCell::new() }
    }

    fn of(&self, level: Durability) -> Option<&OnceCell<Confirmer>> {
        match level {
            Durability::Memory => None,
            Durability::Replicated => Some(&self.replicated),
            Durability::Fsynced => Some(&self.fsynced),
        }
    }

    /// Makes sure that the server of `sends` can tell when `level` is reached, and says which way
    /// a request goes that is sent now. None for what needs no telling.
    pub(crate) async fn ready(
        &self,
        sends: &Link,
        level: Durability,
        deadline: Instant,
    ) -> Result<Option<Way>, StoreError> {
        let Some(cell) = self.of(level) else { return Ok(None) };
        let connect = || Confirmer::connect(self.connector.clone(), level, left_until(deadline));
        let confirmer = cell.get_or_try_init(connect).await?;
        // Else it would be unknown from the start which way it goes.
        sends.wait_up(left_until(deadline)).await;
        confirmer.link.wait_up(left_until(deadline)).await;
        Ok(confirmer.way(sends))
    }

    /// How safe the request is that has gone that `way`.
    pub(crate) async fn reached(
        &self,
        sends: &Link,
        keys: &Arc<QueueKeys>,
        level: Durability,
        way: Option<Way>,
        deadline: Instant,
    ) -> Durability {
        let (Some(confirmer), Some(way)) = (self.of(level).and_then(OnceCell::get), way) else {
            return Durability::Memory;
        };
        let reached = confirmer.reached(keys, deadline).await;
        if reached && confirmer.way(sends) == Some(way) { level } else { Durability::Memory }
    }
}

impl Confirmer {
    /// Connects, and makes sure that the server can tell when `level` is reached.
    async fn connect(
        connector: Connector,
        level: Durability,
        within: Duration,
    ) -> Result<Self, StoreError> {
        let link = Arc::new(Link::connect(connector, Arc::new(|_: &[u8], _: &[u8]| ())).await?);
        link.supports(level, within).await?;
        let (asks, asked) = mpsc::channel(PORTION);
        tokio::spawn(run(link.clone(), level, asked));
        Ok(Self { link, asks })
    }

    fn way(&self, sends: &Link) -> Option<Way> {
        let (sends, asks) = (sends.standing()?, self.link.standing()?);
        sends.is_with(&asks).then_some(Way { sends, asks })
    }

    /// Whether everything that was written before is safe by `deadline`.
    async fn reached(&self, keys: &Arc<QueueKeys>, deadline: Instant) -> bool {
        while Instant::now() < deadline {
            let (reached, answer) = oneshot::channel();
            let asking = async {
                self.asks.send(Ask { keys: keys.clone(), reached }).await.ok()?;
                answer.await.ok()
            };
            match timeout_at(deadline, asking).await {
                Ok(Some(true)) => return true,
                Ok(Some(false)) => {}
                Ok(None) | Err(_) => return false,
            }
        }
        false
    }
}

/// Asks until nobody is left to ask for.
async fn run(link: Arc<Link>, level: Durability, mut asked: mpsc::Receiver<Ask>) {
    let mut batch: Vec<Ask> = Vec::with_capacity(PORTION);
    while asked.recv_many(&mut batch, PORTION).await > 0 {
        let Some(first) = batch.first() else { continue };
        let reached = match link.confirm(&first.keys, level, ROUND).await {
            Ok(reached) => reached,
            Err(error) => {
                tracing::debug!(%error, %level, "whether it is reached cannot be asked");
                // A refusal comes at once, and would be asked for again at once.
                sleep(ROUND).await;
                false
            }
        };
        for ask in batch.drain(..) {
            let _ = ask.reached.send(reached);
        }
    }
}
