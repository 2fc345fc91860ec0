//! Waits until earlier writes are durable: `WAIT`, `WAITAOF`.

use std::time::Duration;

use futures_util::TryFutureExt;
use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use redcall_common::durability::Durability;
use redcall_common::keys::QueueKeys;
use redcall_common::time::millis;

/// The TTL of the key that each confirmation writes.
const MARK_TTL_MS: u64 = 60_000;

impl Connection {
    pub(crate) async fn confirm(
        &self,
        keys: &QueueKeys,
        level: Durability,
        timeout: Duration,
    ) -> Result<bool, StoreError> {
        let ms = millis(timeout).max(1);
        let mut pipe = redis::pipe();
        // Redis waits for the last write of this very connection, which follows all others.
        pipe.cmd("SET").arg(keys.durable()).arg("").arg("PX").arg(MARK_TTL_MS).ignore();
        match level {
            Durability::Memory => return Ok(true),
            Durability::Replicated => pipe.cmd("WAIT").arg(1).arg(ms),
            Durability::Fsynced => pipe.cmd("WAITAOF").arg(1).arg(0).arg(ms),
        };
        let (mut conn, generation) = self.connection(timeout).await?;
        let query = pipe.query_async::<Vec<Value>>(&mut conn).map_err(StoreError::of_driver);
        let mut reached = self.during(generation, query).await?;
        match reached.pop() {
            Some(Value::Int(replicas)) => Ok(replicas > 0),
            Some(Value::Array(counts)) => Ok(matches!(counts.first(), Some(Value::Int(1..)))),
            _ => Err(StoreError::Unexpected("WAIT")),
        }
    }

    pub(crate) async fn supports(
        &self,
        level: Durability,
        timeout: Duration,
    ) -> Result<(), StoreError> {
        if level != Durability::Fsynced {
            return Ok(());
        }
        let mut pipe = redis::pipe();
        pipe.cmd("COMMAND").arg("INFO").arg("WAITAOF").cmd("INFO").arg("persistence");
        let (known, persistence): (Vec<Value>, String) =
            self.with(timeout, async |conn| pipe.query_async(conn).await).await?;
        let unsupported = |needs| Err(StoreError::Unsupported { level, needs });
        if !matches!(known.first(), Some(Value::Array(_))) {
            return unsupported("Redis or Valkey 7.2 or newer");
        }
        if !persistence.lines().any(|line| line.trim_end() == "aof_enabled:1") {
            return unsupported("a Redis with `appendonly yes`");
        }
        Ok(())
    }
}
