//! The inner parts of the store's calls, for `dev/bench/inner/`: building a command and reading
//! its reply.
//!
//! Not a part of the crate's interface. It is here because commands and readers are private and no
//! other crate may depend on the driver. It is always compiled, so that a part cannot change
//! without its bench.

use redis::Value;

use crate::error::StoreError;
use crate::ops::client::send::enqueue::{self, Item};
use crate::ops::worker::polls::poll::{self, PollReply, QueuePoll};
use crate::ops::worker::polls::poll_fast;
use redcall_common::keys::QueueKeys;

/// Returns the bytes of a poll on one queue.
#[must_use]
pub fn poll_command(poll: &QueuePoll<'_>) -> Vec<u8> {
    poll.call().1.get_packed_command()
}

/// Returns the bytes of the command that pushes `items`.
#[must_use]
pub fn enqueue_command(keys: &QueueKeys, max_length: u64, items: &[Item]) -> Vec<u8> {
    enqueue::call(keys, max_length, items).get_packed_command()
}

/// A reply of Redis, as the driver returns it.
#[derive(Debug, Clone)]
pub struct Reply(Value);

impl Reply {
    /// Parses a reply from the wire.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unexpected`] if it is not a reply.
    pub fn parse(wire: &[u8]) -> Result<Self, StoreError> {
        let value = redis::parse_redis_value(wire);
        value.map(Self).map_err(|_| StoreError::Unexpected("the driver"))
    }
}

/// Reads the reply to a poll with this number of `outcomes`.
///
/// # Errors
///
/// [`StoreError::Unexpected`] if it is not such a reply.
pub fn poll_reply(reply: Reply, outcomes: usize) -> Result<PollReply, StoreError> {
    match &reply.0 {
        Value::Array(parts) if parts.len() == 5 => {
            poll_fast::reply(reply.0, outcomes)?.ok_or(StoreError::Unexpected("poll_fast"))
        }
        _ => poll::reply(reply.0, outcomes),
    }
}
