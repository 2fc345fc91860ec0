//! The operations of all programs.

use crate::script::Script;

pub(crate) mod names;
pub(crate) mod publish;
pub(crate) mod queues;
pub(crate) mod rights;

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&queues::NOTE, &publish::CUT, &rights::RIGHTS]
}
