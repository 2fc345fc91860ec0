//! The control input of a worker.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::readiness::pulse::Pulse;
use crate::readiness::report::Report;
use crate::reload::Reloaded;
use crate::stop::Stop;

/// Control input of a worker: stop, reloads, readiness checks.
pub(crate) struct Control {
    pub(crate) stop: watch::Receiver<Stop>,
    pub(crate) reloads: mpsc::Receiver<Reloaded>,
    /// Completes when the worker's future is dropped.
    pub(crate) abandoned: oneshot::Receiver<()>,
    /// Readiness checks.
    pub(crate) checks: mpsc::Receiver<oneshot::Sender<Report>>,
    /// Records the loop's progress for `/live`.
    pub(crate) pulse: Arc<Pulse>,
}
