//! `expire.lua`: end what was to be answered later and was not.

use std::time::Duration;

use redis::Value;

use super::reply::{Whole, read};
use super::settle::{EndedDeferred, ended_deferred};
use crate::error::StoreError;
use crate::link::Link;
use crate::script::EXPIRE;
use redcall_common::keys::QueueKeys;
use redcall_common::limits::COMMAND_BYTES;

/// How many requests one call ends at most.
const PORTION: usize = 100;

impl Link {
    /// Ends what was not settled in time, at most a hundred: how many, and those of which somebody
    /// wants to be notified. Whoever else does the same at the same time finds nothing.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may have been done; doing it again is harmless.
    pub async fn expire(
        &self,
        keys: &QueueKeys,
        within: Duration,
    ) -> Result<(usize, Vec<EndedDeferred>), StoreError> {
        let mut call = EXPIRE.call(&[keys.deferred_ids()]);
        call.arg(PORTION).arg(COMMAND_BYTES);
        expired(self.run(&EXPIRE, &call, within).await?)
    }
}

/// Reads the script's answer.
pub(super) fn expired(value: Value) -> Result<(usize, Vec<EndedDeferred>), StoreError> {
    let (ended, told): (Whole, Vec<String>) = read("expire", value)?;
    Ok((ended.count(), ended_deferred("expire", told)?))
}
