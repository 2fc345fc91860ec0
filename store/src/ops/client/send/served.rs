//! Checks whether a queue has live workers, without enqueuing.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::{Whole, read};
use crate::ops::worker::upkeep::times::LONGEST_LEASE;
use redcall_common::keys::QueueKeys;

impl Connection {
    pub(crate) async fn is_served(
        &self,
        keys: &QueueKeys,
        timeout: Duration,
    ) -> Result<bool, StoreError> {
        let mut pipe = redis::pipe();
        pipe.cmd("TIME");
        // The leases that end last: some may end later than a lease can.
        pipe.cmd("ZRANGE").arg(keys.workers()).arg(-16).arg(-1).arg("WITHSCORES");
        served(self.with(timeout, async |conn| pipe.query_async(conn).await).await?)
    }
}

/// Reads the time, and the leases that end last.
pub(crate) fn served(value: Value) -> Result<bool, StoreError> {
    let (time, last): ((Whole, Whole), Vec<(String, f64)>) = read("TIME, ZRANGE", value)?;
    let now_ms = time.0.0 as f64 * 1000.0 + (time.1.0 / 1000) as f64;
    let latest = now_ms + 2.0 * LONGEST_LEASE.as_secs_f64() * 1000.0;
    Ok(last.iter().any(|(_, ends_at)| (now_ms..=latest).contains(ends_at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_clock_serves_no_queue_and_does_not_panic() {
        let time = |seconds| Value::Array(vec![Value::Int(seconds), Value::Int(0)]);
        let lease = Value::Array(vec![Value::BulkString(b"w".into()), Value::Int(2_000)]);
        let reply_of = |seconds| served(Value::Array(vec![time(seconds), lease.clone()]));
        assert!(reply_of(1).unwrap() && !reply_of(3).unwrap() && !reply_of(i64::MAX).unwrap());
        assert!(reply_of(-1).is_err());
    }
}
