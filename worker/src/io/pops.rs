//! The blocked pop of one queue: a task with a connection of its own, armed for one pop at a time.

use std::sync::Arc;
use std::time::Duration;

use redcall_store::{BlockingPop, Connector, Link, PollReply, Rule, StoreError, WorkerKeys};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::WITHIN;

/// Pause between attempts to connect anew.
const PAUSE: Duration = Duration::from_millis(100);

/// What one pop brought.
pub(crate) struct Popped {
    /// Which queue.
    pub(crate) queue: usize,
    /// `None`: it failed, and is over when its connection has been made anew.
    pub(crate) reply: Option<Result<PollReply, StoreError>>,
}

/// What a pop is told: names that are limited, how long it blocks, what is in the queue.
type Armed = (Arc<[Rule]>, Duration, bool);

/// One queue's task. It ends with this handle.
pub(crate) struct Pops {
    arm: mpsc::Sender<Armed>,
    unblocker: redcall_store::Unblocker,
    task: JoinHandle<()>,
}

impl Drop for Pops {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pops {
    /// Starts the task; it connects at the first pop.
    pub(crate) fn spawn(
        queue: usize,
        connector: Connector,
        keys: Arc<WorkerKeys>,
        popped: mpsc::UnboundedSender<Popped>,
    ) -> Self {
        let (arm, mut armed) = mpsc::channel::<Armed>(1);
        let mut pop = BlockingPop::new(connector, keys);
        let unblocker = pop.unblocker();
        let task = tokio::spawn(async move {
            while let Some((rules, block, more)) = armed.recv().await {
                let reply = pop.next(block, &rules, more).await;
                // A failure is told when nothing more can come from the old connection: what it
                // leased after the dispatcher has read back its leases would never be found.
                if let Err(error) = &reply {
                    let _ = popped.send(Popped { queue, reply: None });
                    while pop.renew().await.is_err() {
                        sleep(PAUSE).await;
                    }
                    // A server without memory can be reached, and refuses every pop. The poll that
                    // follows takes what there is.
                    if error.is_refused() {
                        sleep(PAUSE).await;
                    }
                }
                if popped.send(Popped { queue, reply: Some(reply) }).is_err() {
                    return;
                }
            }
        });
        Self { arm, unblocker, task }
    }

    /// Sends one pop out, which blocks for so long and sorts requests of limited names; `more`: in
    /// a queue with more than plain requests. Its end comes as a [`Popped`].
    pub(crate) fn arm(&self, rules: &Arc<[Rule]>, block: Duration, more: bool) {
        // Never full: the dispatcher arms again only after the end of the last.
        let _ = self.arm.try_send((rules.clone(), block, more));
    }

    /// Ends the task and makes sure that nothing it has sent is carried out any more: an element
    /// that came to lie in the inbox of a worker that has left would never be found.
    pub(crate) async fn close(&mut self, link: &Link) -> Result<(), StoreError> {
        self.task.abort();
        let _ = (&mut self.task).await;
        link.cut(&self.unblocker, WITHIN).await
    }

    /// Ends a pop that blocks, without losing what it may just have moved.
    pub(crate) fn unblock(&self, link: &Arc<Link>) {
        // Beside the dispatcher, which must go on when Redis does not answer.
        let (link, unblocker) = (link.clone(), self.unblocker.clone());
        tokio::spawn(async move {
            if let Err(error) = link.unblock(&unblocker, WITHIN).await {
                tracing::debug!(%error, "a blocked pop ends by its own time");
            }
        });
    }
}
