//! The operations of all programs.

pub(crate) mod names;
pub(crate) mod publish;
pub(crate) mod queues;
pub(crate) mod rights;
