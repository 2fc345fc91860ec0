//! `trim.lua`: trim the frames that a stream's reader has read.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::{Whole, read};
use crate::script::{Reading, script};
use redcall_common::limits::COMMAND_BYTES;

script! {
    /// Trim the frames that a stream's reader has read.
    TRIM = "client/trim", Runs, of Client;
    with SCAN, NODES;
    read |value, _| first(value).map(Reading::of)
}

impl Connection {
    pub(crate) async fn trim(
        &self,
        key: &str,
        (attempt, seq): (u32, u64),
        largest: usize,
        timeout: Duration,
    ) -> Result<Option<(u32, u64)>, StoreError> {
        let mut call = TRIM.call(&[key]);
        call.arg(attempt).arg(seq).arg(largest.max(COMMAND_BYTES));
        first(self.run(&TRIM, &call, timeout).await?)
    }
}

/// Reads the script's reply.
pub(crate) fn first(value: Value) -> Result<Option<(u32, u64)>, StoreError> {
    match read::<Vec<Whole>>("trim", value)?.as_slice() {
        [] => Ok(None),
        [attempt, seq] => match u32::try_from(attempt.0) {
            Ok(attempt) => Ok(Some((attempt, seq.0))),
            Err(_) => Err(StoreError::Unexpected("trim")),
        },
        _ => Err(StoreError::Unexpected("trim")),
    }
}
