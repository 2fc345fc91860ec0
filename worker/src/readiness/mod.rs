//! The readiness of a worker: a request to the dispatcher, which answers within a bound. For
//! `/ready`, and for programs that embed a worker.

pub(crate) mod pulse;
pub(crate) mod report;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use pulse::Pulse;
use report::Report;

/// Timeout of the dispatcher's report; the dispatcher's own timeout is a second.
const ANSWER: Duration = Duration::from_secs(2);

/// Reports whether a worker consumes requests. Cheap to clone.
#[derive(Clone, Default)]
pub struct Readiness {
    /// Written once, when the worker runs.
    handle: Arc<OnceLock<ReadinessHandle>>,
}

/// The end of those who check: requests to the dispatcher, and its pulse.
#[derive(Clone)]
pub(crate) struct ReadinessHandle {
    /// Requests for a report; each is answered once.
    pub(crate) checks: mpsc::Sender<oneshot::Sender<Report>>,
    pub(crate) pulse: Arc<Pulse>,
}

impl Readiness {
    pub(crate) fn set(&self, handle: ReadinessHandle) {
        // A worker runs once.
        let _ = self.handle.set(handle);
    }

    /// Checks that the worker is ready: it has just leased and settled a probe of its own. Returns
    /// within two seconds.
    ///
    /// # Errors
    ///
    /// The reasons why the worker is not ready.
    pub async fn check(&self) -> Result<(), Vec<String>> {
        let report = match self.handle.get() {
            Some(handle) => handle.report().await,
            None => Report::not_ready("starting"),
        };
        report.verdict()
    }
}

impl ReadinessHandle {
    pub(crate) async fn report(&self) -> Report {
        if !self.pulse.has_begun() {
            return Report::not_ready("starting");
        }
        let request = async {
            let (sender, receiver) = oneshot::channel();
            self.checks.send(sender).await.ok()?;
            receiver.await.ok()
        };
        match timeout(ANSWER, request).await {
            Ok(Some(report)) => report,
            // The dispatcher has stopped: the worker returns its remaining jobs.
            Ok(None) => Report::not_ready("draining"),
            Err(_) => Report::not_ready("the I/O loop does not answer"),
        }
    }
}
