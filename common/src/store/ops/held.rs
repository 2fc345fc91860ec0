//! What a worker has leased: for one whose reply was lost.

use std::time::Duration;

use super::cycle::{Leased, Mark, WorkerKeys};
use crate::store::error::StoreError;
use crate::store::link::Link;

impl Link {
    /// Everything that a worker has leased on one queue, with what befell it before.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn held(
        &self,
        keys: &WorkerKeys,
        within: Duration,
    ) -> Result<Vec<Leased>, StoreError> {
        let call = redis::cmd("HGETALL").arg(&keys.leases).to_owned();
        let held: Vec<(String, Vec<u8>)> =
            self.with(within, async |conn| call.query_async(conn).await).await?;
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&str> = held.iter().map(|(id, _)| id.as_str()).collect();
        let mut marks = redis::pipe();
        marks.cmd("HMGET").arg(keys.queue.history()).arg(&ids);
        marks.cmd("ZMSCORE").arg(keys.queue.cancelled()).arg(&ids);
        type Marks = (Vec<Option<Vec<u8>>>, Vec<Option<f64>>);
        let (records, tombstones): Marks =
            self.with(within, async |conn| marks.query_async(conn).await).await?;
        let held = held.into_iter().zip(records).zip(tombstones);
        let leased = held.map(|(((id, raw), record), tombstone)| {
            let mut mark = Mark::read(&record.unwrap_or_default());
            mark.cancelled = tombstone.is_some();
            Leased { id, raw, mark }
        });
        Ok(leased.collect())
    }
}
