//! Reading events.

pub(crate) mod group;
pub(crate) mod topic;
pub(crate) mod watch;
