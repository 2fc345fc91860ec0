//! [`Script`]: the scripts that may fail at one of their commands.

use crate::store::{Id, WorkerId};

/// A script that may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Script {
    /// A worker's poll.
    PollStep(WorkerId),
    /// The one after a blocked pop.
    Leases(WorkerId),
    /// The script that moves due requests.
    Promote(Id),
    /// The script that returns a worker's leases to the queue.
    TakeOver(WorkerId),
    /// The one that withdraws a request.
    Cancel(Id),
    /// The next one on a worker's lane.
    Lane(WorkerId),
}
