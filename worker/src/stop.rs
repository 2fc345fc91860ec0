//! Stop requests to a worker, sent by signals or the embedding program, received by the dispatcher.

use tokio::sync::watch;

/// A stop request to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Continue.
    No,
    /// Lease nothing more; end when all jobs have ended, after `drain_timeout` at the latest.
    Drain,
    /// Return all jobs to their queues and end.
    Now,
}

impl Stop {
    /// Waits for a request beyond `level`. A dropped sender requests nothing.
    pub(crate) async fn above(level: Self, stop: &mut watch::Receiver<Self>) -> Self {
        match stop.wait_for(|asked| *asked > level).await {
            Ok(asked) => *asked,
            Err(_) => std::future::pending().await,
        }
    }
}
