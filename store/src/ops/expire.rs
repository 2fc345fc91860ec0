//! `expire.lua`: end deferred requests that were not settled in time.

use std::time::Duration;

use redis::Value;

use super::reply::{Whole, read};
use super::settle::{EndedDeferred, ended_deferred};
use crate::error::StoreError;
use crate::link::Connection;
use crate::script::EXPIRE;
use redcall_common::keys::QueueKeys;
use redcall_common::limits::COMMAND_BYTES;

/// The maximum number of requests that one call ends.
const EXPIRED_MAX: usize = 100;

impl Connection {
    /// Ends up to a hundred requests that were not settled in time. Returns their number, and those
    /// whose end has to be published. Concurrent calls never end a request twice.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may have been done; a retry is harmless.
    pub async fn expire(
        &self,
        keys: &QueueKeys,
        timeout: Duration,
    ) -> Result<(usize, Vec<EndedDeferred>), StoreError> {
        let mut call = EXPIRE.call(&[keys.deferred_ids()]);
        call.arg(EXPIRED_MAX).arg(COMMAND_BYTES);
        expired(self.run(&EXPIRE, &call, timeout).await?)
    }
}

/// Reads the script's reply.
pub(super) fn expired(value: Value) -> Result<(usize, Vec<EndedDeferred>), StoreError> {
    let (ended, to_publish): (Whole, Vec<String>) = read("expire", value)?;
    Ok((ended.count(), ended_deferred("expire", to_publish)?))
}
