//! Checks of the data that Redis holds: sizes, TTLs, limits, times and signatures.

pub(super) mod bytes;
pub(super) mod keys;
pub(super) mod limits;
pub(super) mod states;
pub(super) mod times;
