//! The forms of values: durations, sizes, addresses, names. These files do not know which keys
//! exist.

pub(crate) mod duration;
pub(crate) mod forms;
pub(crate) mod json;
pub(crate) mod sentinel;
pub(crate) mod size;
pub(crate) mod url;
