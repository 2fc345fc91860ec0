//! The messages between a lane and the dispatcher, and the parts of a worker that a lane needs.

use std::sync::Arc;
use std::time::Duration;

use redcall_store::StoreError;
use tokio::sync::mpsc;

use super::adopt::Adopted;
use super::priority::Priority;
use super::shared::HandedOver;
use crate::mapping::Mapping;
use crate::metrics::Metrics;
use crate::run::capacity::Capacity;
use crate::run::job;

/// The order to a lane: work, for `block` at most, and run the requests by this mapping.
pub(crate) struct Arm {
    /// `true` if requests wait: then it begins with taking several, otherwise with a pop.
    pub(crate) waits: bool,
    pub(crate) block: Duration,
    pub(crate) mapping: Arc<Mapping>,
}

/// A message of a lane to the dispatcher, with the index of the queue.
pub(crate) enum Event {
    /// A script has dead-lettered elements, with these error codes.
    Refused(Vec<String>),
    /// The lane has begun to work after a rest: it has to be watched.
    Active,
    /// The lane has come to rest.
    Ended(Box<End>),
    /// Its inbox is empty. The lane is at rest.
    Adopted(Box<Adopted>),
    /// Redis has moved requests to its inbox that its task has not read.
    Unread,
    /// A task that was stuck runs again: the lane may be armed.
    Ready,
}

/// The end of a lane's work.
pub(crate) struct End {
    pub(crate) why: Why,
    /// Length of the queue, if the last pop reported it.
    pub(crate) length: Option<usize>,
    /// The inbox, if it has to be adopted.
    pub(crate) inbox: Option<HandedOver>,
}

/// Why a lane has come to rest.
#[derive(Debug)]
pub(crate) enum Why {
    /// Its time is over, it was recalled, or the worker has no capacity.
    Idle,
    /// The job runs for longer, or needs a real lease.
    Slow,
    /// The request, or the queue, is not plain.
    Special,
    /// The worker's own lease has ended.
    Expired,
    /// Redis failed.
    Failed(StoreError),
}

/// The parts of a worker that a lane needs.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) lease: Duration,
    pub(crate) job: Arc<job::Shared>,
    pub(crate) capacity: Arc<Capacity>,
    pub(crate) priority: Arc<Priority>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) events: mpsc::UnboundedSender<(usize, Event)>,
}
