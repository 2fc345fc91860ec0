//! The stop of a worker: its level, the end of its drain, and its last settling.

use std::time::Duration;

use redcall_store::{StoreError, UpkeepOps as _};
use tokio::time::{Instant, Interval, timeout};

use super::jobs::Jobs;
use super::polls::Polls;
use super::queue::Queue;
use super::readiness::Checks;
use super::setup::Setup;
use crate::causes::with_causes;
use crate::stop::{Stop, StopRequests};
use crate::time::{REDIS_TIMEOUT, every, until};

/// How often a stopping worker unblocks its pops: a pop that does not block yet would miss it, and
/// keep an idle worker for as long as it blocks.
const UNBLOCK_EVERY: Duration = Duration::from_millis(50);
/// Timeout of the last settling and the release, after the drain.
const TIMEOUT: Duration = Duration::from_secs(3);

/// See the module. Read and written by the dispatcher alone.
pub(super) struct Shutdown {
    level: Stop,
    requests: StopRequests,
    drain_timeout: Duration,
    /// End of the drain.
    end: Option<Instant>,
    unblocks: Interval,
}

/// The next step of a stop.
pub(super) enum ShutdownStep {
    /// A stop was requested, beyond the present level.
    Begin(Stop),
    /// The pops must be unblocked.
    Unblock,
    /// The drain is over.
    End,
}

impl Shutdown {
    pub(super) fn new(requests: StopRequests, drain_timeout: Duration) -> Self {
        let unblocks = every(UNBLOCK_EVERY);
        Self { level: Stop::No, requests, drain_timeout, end: None, unblocks }
    }

    /// Completes with the next step. Cancel safe.
    pub(super) async fn next(&mut self) -> ShutdownStep {
        let level = self.level;
        if level == Stop::No {
            // The loop polls this once per iteration: without the other branches, which never end.
            return ShutdownStep::Begin(self.requests.above(level).await);
        }
        tokio::select! {
            biased;
            level = self.requests.above(level), if level < Stop::Now => ShutdownStep::Begin(level),
            () = until(self.end) => ShutdownStep::End,
            _ = self.unblocks.tick(), if level > Stop::No => ShutdownStep::Unblock,
        }
    }

    /// Begins to stop at `level`, or raises the level.
    pub(super) fn begin(&mut self, level: Stop) {
        let timeout = if level == Stop::Drain { self.drain_timeout } else { Duration::ZERO };
        self.end = Some(Instant::now() + timeout);
        self.level = level;
    }

    /// Returns `true` once the worker stops.
    pub(super) fn has_begun(&self) -> bool {
        self.level > Stop::No
    }

    /// Ends all jobs, settles them, returns the other leases, leaves the registry. Has a timeout.
    /// No heartbeat may be sent meanwhile: it would register the worker again.
    pub(super) async fn settle(
        self,
        setup: Setup,
        (mut queues, mut jobs): (Vec<Queue>, Jobs),
        (mut polls, mut checks): (Polls, Checks),
    ) {
        let returned = jobs.return_all(&mut queues);
        let settling = async {
            polls.settle_all(&setup, &mut queues, &mut jobs, checks.probe()).await;
            leave(&setup, &mut queues).await
        };
        match timeout(TIMEOUT, settling).await {
            Ok(Ok(())) => tracing::info!(given_back = returned, "stopped"),
            Ok(Err(error)) => {
                let error = with_causes(&error);
                tracing::warn!(%error, "stopped: other workers take over its jobs")
            }
            Err(_) => tracing::warn!("stopped without Redis: other workers take over its jobs"),
        }
        if self.level < Stop::Now {
            setup.mapping.close().await;
        }
    }
}

/// Ends the pops, and returns all leases.
async fn leave(setup: &Setup, queues: &mut [Queue]) -> Result<(), StoreError> {
    let conn = &setup.heartbeat_conn;
    for queue in queues {
        queue.close(conn).await?;
        conn.release(&queue.keys().queue, &setup.identity.id, true, REDIS_TIMEOUT).await?;
    }
    Ok(())
}
