//! Heartbeats, and the work that a worker does for its queues.

pub(crate) mod expire;
pub(crate) mod heartbeat;
pub(crate) mod promote;
pub(crate) mod queue_state;
pub(crate) mod release;
pub(crate) mod rotation;
pub(crate) mod tally;
pub(crate) mod tick;
pub(crate) mod times;
