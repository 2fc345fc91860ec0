//! `seen.lua`: was a signed request started before?

use std::time::Duration;

use redis::Value;

use super::read;
use crate::store::error::StoreError;
use crate::store::keys::QueueKeys;
use crate::store::link::Link;
use crate::store::script::SEEN;

impl Link {
    /// Remembers until `until_ms` (Redis time) that `run` has started request `id`. Whether no
    /// other run had; asking again is harmless.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may be remembered.
    pub async fn remember(
        &self,
        keys: &QueueKeys,
        id: &str,
        run: &str,
        until_ms: u64,
        within: Duration,
    ) -> Result<bool, StoreError> {
        let mut call = SEEN.call(&[keys.seen(id)]);
        call.arg(run).arg(until_ms);
        first(self.run(&SEEN, &call, within).await?)
    }
}

/// Reads the script's answer.
pub(super) fn first(value: Value) -> Result<bool, StoreError> {
    match read("seen", value)? {
        1 => Ok(true),
        0 => Ok(false),
        _ => Err(StoreError::Unexpected("seen")),
    }
}
