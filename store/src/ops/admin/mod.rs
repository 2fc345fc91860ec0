//! The operations of administrators.

pub(crate) mod letters;
pub(crate) mod pause;
pub(crate) mod revive;
