//! Around one run: may it start, its state, its frames.

use crate::script::Script;

pub(crate) mod claim;
pub(crate) mod frame;
pub(crate) mod seen;
pub(crate) mod start;
pub(crate) mod state;

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&frame::FRAME, &claim::CLAIM, &claim::UNIQUE, &seen::SEEN, &start::START]
}
