//! `start.lua`: record the start of a tracked job.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::read;
use crate::ops::worker::polls::poll::WorkerKeys;
use crate::script::{Reading, script};

script! {
    /// Record the start of a tracked job.
    START = "worker/start", Runs, of Worker;
    with UNDO, STATUS;
    read |value, _| noted(value).map(Reading::of)
}

impl Connection {
    pub(crate) async fn note_start(
        &self,
        keys: &WorkerKeys,
        id: &str,
        attempt: u32,
        ttl_ms: u64,
        again: bool,
        timeout: Duration,
    ) -> Result<bool, StoreError> {
        let mut call = START.call(&[&keys.leases, &keys.queue.status(id)]);
        call.arg(id).arg(attempt).arg(&keys.worker).arg(ttl_ms).arg(i32::from(again));
        noted(self.run(&START, &call, timeout).await?)
    }
}

/// Reads the script's reply.
pub(crate) fn noted(value: Value) -> Result<bool, StoreError> {
    match read("start", value)? {
        1 => Ok(true),
        0 => Ok(false),
        _ => Err(StoreError::Unexpected("start")),
    }
}
