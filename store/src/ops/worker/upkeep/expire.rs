//! `expire.lua`: end deferred requests that were not settled in time.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::deferred::{EndedDeferred, ended_deferred};
use crate::ops::reply::{Whole, read};
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;
use redcall_common::limits::COMMAND_BYTES;

script! {
    /// End deferred requests after their deadline.
    EXPIRE = "worker/expire", Runs, of Worker;
    with UNDO, BYTES, KEPT, ANSWERS, RECORD, STATUS, SCAN, JOINED, CALLS, DEFERRED;
    read |value, _| expired(value).map(Reading::of)
}

/// The maximum number of requests that one call ends.
const EXPIRED_MAX: usize = 100;

impl Connection {
    pub(crate) async fn expire(
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
pub(crate) fn expired(value: Value) -> Result<(usize, Vec<EndedDeferred>), StoreError> {
    let (ended, to_publish): (Whole, Vec<String>) = read("expire", value)?;
    Ok((ended.count(), ended_deferred("expire", to_publish)?))
}
