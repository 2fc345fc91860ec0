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
///
/// ```
/// use redcall_worker::{Settings, Stop, Worker};
/// use tokio::sync::watch;
///
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #   let redis = redcall_testkit::TestRedis::start().await;
/// #   let settings = Settings { redis: redis.settings(), ..Settings::default() };
///     let worker = Worker::from_settings(settings)?.handler("nap", async || {});
///     let readiness = worker.readiness();
///     assert_eq!(readiness.check().await, Err(vec!["starting".to_owned()]));
///
///     let (stop, stopped) = watch::channel(Stop::No);
///     let running = tokio::spawn(worker.run_until(stopped));
/// #   let check = async || readiness.check().await.ok();
/// #   redcall_testkit::eventually("the worker to be ready", check).await;
///     // From its first probe on, `check` returns `Ok(())`.
/// #   stop.send(Stop::Now)?;
/// #   running.await??;
///     Ok(())
/// }
/// ```
#[derive(Clone, Default)]
pub struct Readiness {
    /// Written once, when the worker runs.
    handle: Arc<OnceLock<ReadinessHandle>>,
}

/// A checker's access: requests to the dispatcher, and its pulse.
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
