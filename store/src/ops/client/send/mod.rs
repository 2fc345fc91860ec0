//! Sending requests, and withdrawing them.

use crate::script::Script;

pub(crate) mod cancel;
pub(crate) mod durable;
pub(crate) mod enqueue;
pub(crate) mod place;
pub(crate) mod served;

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&enqueue::ENQUEUE, &place::PLACE, &cancel::CANCEL]
}
