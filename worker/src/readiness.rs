//! Whether a worker consumes: asked of the thread that talks to Redis, which answers within a
//! bound. For `/ready`, and for programs that run a worker.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::admin::{Pulse, Report};

/// How long the thread that talks to Redis may take to say whether it is ready; its own bound is
/// a second.
const ANSWER: Duration = Duration::from_secs(2);

/// Says whether a worker consumes. Cheap to clone.
#[derive(Clone, Default)]
pub struct Readiness {
    /// Written once, when the worker runs.
    line: Arc<OnceLock<Line>>,
}

/// To the dispatcher.
#[derive(Clone)]
pub(crate) struct Line {
    /// It answers once.
    pub(crate) asking: mpsc::Sender<oneshot::Sender<Report>>,
    pub(crate) pulse: Arc<Pulse>,
}

impl Readiness {
    pub(crate) fn set(&self, line: Line) {
        // A worker runs once.
        let _ = self.line.set(line);
    }

    /// Returns within two seconds: a worker that is ready has just leased and settled a probe of
    /// its own.
    ///
    /// # Errors
    ///
    /// Why it is not ready.
    pub async fn check(&self) -> Result<(), Vec<String>> {
        let report = match self.line.get() {
            Some(line) => line.report().await,
            None => Report::not_ready("starting"),
        };
        report.verdict()
    }
}

impl Line {
    pub(crate) async fn report(&self) -> Report {
        if !self.pulse.has_begun() {
            return Report::not_ready("starting");
        }
        let asking = async {
            let (tell, told) = oneshot::channel();
            self.asking.send(tell).await.ok()?;
            told.await.ok()
        };
        match timeout(ANSWER, asking).await {
            Ok(Some(report)) => report,
            // Nobody hears any more: it gives back what is left.
            Ok(None) => Report::not_ready("draining"),
            Err(_) => Report::not_ready("the loop that talks to Redis does not answer"),
        }
    }
}
