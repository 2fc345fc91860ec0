//! Reading answers and states, and settling deferred requests.

use crate::script::Script;

pub(crate) mod channel;
pub(crate) mod response;
pub(crate) mod settle;
pub(crate) mod status;
pub(crate) mod trim;

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&settle::SETTLE, &trim::TRIM]
}
