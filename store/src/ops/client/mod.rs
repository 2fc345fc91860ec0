//! The operations of clients.

pub(crate) mod answers;
pub(crate) mod events;
pub(crate) mod lease;
pub(crate) mod send;
