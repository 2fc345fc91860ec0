//! The blocked pop of one queue: a loop with its own connection, armed for one pop at a time.

use std::sync::Arc;
use std::time::Duration;

use redcall_store::{
    BlockingPop, Connection, Connector, LimitRule, PollReply, RequestPop as _, Session as _,
    StoreError, WorkerKeys,
};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Background;
use crate::time::{REDIS_PAUSE, REDIS_TIMEOUT};

/// The result of one pop.
pub(crate) struct Popped {
    /// Index of the queue.
    pub(crate) queue: usize,
    /// `None`: the pop failed; sent once its connection is made again.
    pub(crate) reply: Option<Result<PollReply, StoreError>>,
}

/// The order for a pop: names with limits, how long it blocks, if the queue has more than plain
/// requests.
type Armed = (Arc<[LimitRule]>, Duration, bool);

/// One queue's loop.
pub(crate) struct Pops {
    arm: mpsc::Sender<Armed>,
    unblocker: redcall_store::Unblocker,
    background: Background,
}

impl Pops {
    /// Starts the loop; it connects at the first pop.
    pub(crate) fn spawn(
        queue: usize,
        connector: Connector,
        keys: Arc<WorkerKeys>,
        popped: mpsc::UnboundedSender<Popped>,
    ) -> Self {
        let (arm, mut armed) = mpsc::channel::<Armed>(1);
        let mut pop = BlockingPop::new(connector, keys);
        let unblocker = pop.unblocker();
        let background = Background::spawn("pops", async move {
            while let Some((rules, block, more)) = armed.recv().await {
                let reply = pop.next(block, &rules, more).await;
                // A failure is reported when the old connection can deliver nothing more: requests
                // that it leased after the dispatcher has read back its leases would never be
                // found.
                if let Err(error) = &reply {
                    let _ = popped.send(Popped { queue, reply: None });
                    while pop.renew().await.is_err() {
                        sleep(REDIS_PAUSE).await;
                    }
                    // A server without memory is reachable, and refuses every pop. The next poll
                    // leases the requests that it can.
                    if error.is_refused() {
                        sleep(REDIS_PAUSE).await;
                    }
                }
                if popped.send(Popped { queue, reply: Some(reply) }).is_err() {
                    return;
                }
            }
        });
        Self { arm, unblocker, background }
    }

    /// Sends one pop, which blocks for `block` and partitions requests of names with limits.
    /// `more`: the queue has more than plain requests. The result comes as a [`Popped`].
    pub(crate) fn arm(&self, rules: &Arc<[LimitRule]>, block: Duration, more: bool) {
        // Never full: the dispatcher arms again only after the last pop has ended.
        let _ = self.arm.try_send((rules.clone(), block, more));
    }

    /// Ends the loop and ensures that none of its commands is executed later: an element moved to
    /// the inbox of a worker that has left would never be found.
    pub(crate) async fn close(&mut self, link: &Connection) -> Result<(), StoreError> {
        self.background.end().await;
        link.cut(&self.unblocker, REDIS_TIMEOUT).await
    }

    /// Ends a blocked pop without losing an element that it may just have moved.
    pub(crate) fn unblock(&self, link: &Arc<Connection>) {
        // In a task: the dispatcher must continue if Redis does not answer.
        let (link, unblocker) = (link.clone(), self.unblocker.clone());
        tokio::spawn(async move {
            if let Err(error) = link.unblock(&unblocker, REDIS_TIMEOUT).await {
                tracing::debug!(%error, "cannot unblock a pop: it ends by its own timeout");
            }
        });
    }
}
