//! Around one run: may it start, its state, its frames.

pub(crate) mod claim;
pub(crate) mod frame;
pub(crate) mod seen;
pub(crate) mod start;
pub(crate) mod state;
