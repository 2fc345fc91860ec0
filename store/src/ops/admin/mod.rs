//! The operations of administrators.

use crate::script::Script;

pub(crate) mod letters;
pub(crate) mod pause;
pub(crate) mod revive;

/// Returns the scripts of this folder.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&letters::LETTERS, &revive::REVIVE, &pause::PAUSE]
}
