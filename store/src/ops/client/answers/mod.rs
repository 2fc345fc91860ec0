//! Reading answers and states, and settling deferred requests.

pub(crate) mod channel;
pub(crate) mod response;
pub(crate) mod settle;
pub(crate) mod status;
pub(crate) mod trim;
