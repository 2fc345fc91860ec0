//! Polls: settling what ended, leasing what fits.

pub(crate) mod held;
pub(crate) mod outcome;
pub(crate) mod poll;
pub(crate) mod poll_fast;
pub(crate) mod pop;
pub(crate) mod probe;
pub(crate) mod round;
