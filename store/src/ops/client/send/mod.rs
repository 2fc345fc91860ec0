//! Sending requests, and withdrawing them.

pub(crate) mod cancel;
pub(crate) mod durable;
pub(crate) mod enqueue;
pub(crate) mod place;
pub(crate) mod served;
