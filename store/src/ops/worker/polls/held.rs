//! The requests that a worker has leased: for a worker that lost a reply.

use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::worker::polls::poll::{LeaseInfo, Leased, WorkerKeys};

impl Connection {
    pub(crate) async fn held(
        &self,
        keys: &WorkerKeys,
        timeout: Duration,
    ) -> Result<Vec<Leased>, StoreError> {
        let call = redis::cmd("HGETALL").arg(&keys.leases).to_owned();
        let held: LeasePairs =
            self.with(timeout, async |conn| call.query_async(conn).await).await?;
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&str> = held.iter().map(|(id, _)| id.as_str()).collect();
        let mut marks = redis::pipe();
        marks.cmd("HMGET").arg(keys.queue.attempts()).arg(&ids);
        marks.cmd("ZMSCORE").arg(keys.queue.cancelled()).arg(&ids);
        let marks = self.with(timeout, async |conn| marks.query_async(conn).await).await?;
        leased(held, marks)
    }
}

/// The hash of leases, as pairs.
pub(crate) type LeasePairs = Vec<(String, Vec<u8>)>;

/// The records and tombstones of the same ids.
pub(crate) type Histories = (Vec<Option<Vec<u8>>>, Vec<Option<f64>>);

/// Combines both replies.
pub(crate) fn leased(
    held: LeasePairs,
    (records, tombstones): Histories,
) -> Result<Vec<Leased>, StoreError> {
    // A lease without its history would be skipped, and its job aborted as if the lease were lost.
    if records.len() != held.len() || tombstones.len() != held.len() {
        return Err(StoreError::Unexpected("HMGET, ZMSCORE"));
    }
    let held = held.into_iter().zip(records).zip(tombstones);
    let leased = held.map(|(((id, raw), record), tombstone)| {
        let mut mark = LeaseInfo::read(&record.unwrap_or_default());
        mark.cancelled = tombstone.is_some();
        Leased { id, raw, mark }
    });
    Ok(leased.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_without_its_history_is_an_error() {
        let held = || vec![("x1".to_owned(), b"raw".to_vec())];
        let one = leased(held(), (vec![None], vec![Some(1.0)])).unwrap();
        assert!(one.len() == 1 && one[0].mark.cancelled);
        for marks in [(vec![], vec![None]), (vec![None], vec![])] {
            assert!(matches!(leased(held(), marks), Err(StoreError::Unexpected(_))));
        }
    }
}
