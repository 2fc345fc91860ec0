//! Polls: settling what ended, leasing what fits.

use crate::script::Script;

pub(crate) mod held;
pub(crate) mod outcome;
pub(crate) mod poll;
pub(crate) mod poll_fast;
pub(crate) mod pop;
pub(crate) mod probe;
pub(crate) mod round;

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&poll::POLL, &poll_fast::POLL_FAST, &probe::PROBE]
}
