//! `trim.lua`: drop what a reader of a stream has had.

use std::time::Duration;

use redis::Value;

use super::reply::{Whole, read};
use crate::error::StoreError;
use crate::link::Link;
use crate::script::TRIM;

impl Link {
    /// Drops the frames at `key` before the one that is named by attempt and `seq`, which has been
    /// read and stays. Attempt and `seq` of the first one that lies there afterwards, if any does.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] they may have been dropped; calling again is harmless.
    pub async fn trim(
        &self,
        key: &str,
        (attempt, seq): (u32, u64),
        within: Duration,
    ) -> Result<Option<(u32, u64)>, StoreError> {
        let mut call = TRIM.call(&[key]);
        call.arg(attempt).arg(seq);
        first(self.run(&TRIM, &call, within).await?)
    }
}

/// Reads the script's answer.
pub(super) fn first(value: Value) -> Result<Option<(u32, u64)>, StoreError> {
    match read::<Vec<Whole>>("trim", value)?.as_slice() {
        [] => Ok(None),
        [attempt, seq] => match u32::try_from(attempt.0) {
            Ok(attempt) => Ok(Some((attempt, seq.0))),
            Err(_) => Err(StoreError::Unexpected("trim")),
        },
        _ => Err(StoreError::Unexpected("trim")),
    }
}
