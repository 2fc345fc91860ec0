//! Stop requests to a worker, sent by signals or the embedding program, received by the dispatcher.

use tokio::sync::{oneshot, watch};

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

/// The stop requests to one worker.
pub(crate) struct StopRequests {
    pub(crate) levels: watch::Receiver<Stop>,
    /// Completes when the worker's future is dropped.
    pub(crate) abandoned: oneshot::Receiver<()>,
}

impl StopRequests {
    /// Waits for a request beyond `level`, which is below [`Stop::Now`]. A dropped sender of levels
    /// requests nothing. Cancel safe.
    pub(crate) async fn above(&mut self, level: Stop) -> Stop {
        let requested = async {
            match self.levels.wait_for(|current| *current > level).await {
                Ok(current) => *current,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            level = requested => level,
            _ = &mut self.abandoned => Stop::Now,
        }
    }
}
