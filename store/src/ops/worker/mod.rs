//! The operations of workers.

pub(crate) mod polls;
pub(crate) mod run;
pub(crate) mod upkeep;
