//! Reading events.

use crate::script::Script;

pub(crate) mod group;
pub(crate) mod topic;
pub(crate) mod watch;

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&topic::EVENTS, &group::GROUP]
}
