//! The input of the dispatcher: the receivers of its loop.

use tokio::sync::{mpsc, oneshot};

use super::io_event::IoEvent;
use crate::background::pops::Popped;
use crate::background::reload::Reloaded;
use crate::lane;
use crate::readiness::report::Report;
use crate::run::job::Event;

/// See the module. Each is read by the loop alone; the owners of its state handle the messages.
pub(crate) struct Inputs {
    /// From running jobs. The dispatcher holds a sender.
    pub(crate) jobs: mpsc::UnboundedReceiver<Event>,
    /// From the blocked pops.
    pub(crate) pops: mpsc::UnboundedReceiver<Popped>,
    /// From the lanes, with the index of the queue.
    pub(crate) lanes: mpsc::UnboundedReceiver<(usize, lane::Event)>,
    /// From the tasks of the owners.
    pub(crate) events: mpsc::UnboundedReceiver<IoEvent>,
    /// From SIGHUP.
    pub(crate) reloads: mpsc::Receiver<Reloaded>,
    /// Readiness checks.
    pub(crate) checks: mpsc::Receiver<oneshot::Sender<Report>>,
}
