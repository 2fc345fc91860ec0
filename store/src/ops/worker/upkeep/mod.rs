//! Heartbeats, and the work that a worker does for its queues.

use crate::script::Script;

pub(crate) mod expire;
pub(crate) mod heartbeat;
pub(crate) mod promote;
pub(crate) mod queue_state;
pub(crate) mod release;
pub(crate) mod rotation;
pub(crate) mod tally;
pub(crate) mod tick;
pub(crate) mod times;

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![
        &heartbeat::HEARTBEAT,
        &release::RELEASE,
        &promote::PROMOTE,
        &expire::EXPIRE,
        &tick::TICK,
        &tally::TALLY,
        &rotation::ROTATION,
        &rotation::ROTATION_SEEN,
        &times::TIMES,
        &times::TIMES_SEEN,
    ]
}
