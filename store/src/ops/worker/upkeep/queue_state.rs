//! The state that control messages change: a queue's pause, and tombstones of cancelled requests.

use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;
use redcall_common::keys::QueueKeys;

/// The maximum number of ids in one command.
const IDS_AT_ONCE: usize = 1000;

/// The pause of a queue and the cancelled ids among those of a read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueState {
    /// `true` if the queue is paused.
    pub paused: bool,
    /// The ids that have a tombstone.
    pub cancelled: Vec<String>,
}

impl Connection {
    pub(crate) async fn queue_state(
        &self,
        keys: &QueueKeys,
        ids: &[String],
        timeout: Duration,
    ) -> Result<QueueState, StoreError> {
        let mut pipe = redis::pipe();
        pipe.cmd("EXISTS").arg(keys.paused());
        for ids in ids.chunks(IDS_AT_ONCE) {
            pipe.cmd("ZMSCORE").arg(keys.cancelled()).arg(ids);
        }
        let values = self.with(timeout, async |conn| pipe.query_async(conn).await).await?;
        state(ids, values)
    }
}

/// Combines the replies of `EXISTS` and of each `ZMSCORE`.
fn state(ids: &[String], values: Vec<redis::Value>) -> Result<QueueState, StoreError> {
    let surprise = |_| StoreError::Unexpected("EXISTS, ZMSCORE");
    let mut values = values.into_iter();
    let paused = values.next().unwrap_or(redis::Value::Nil);
    let paused = redis::from_redis_value::<bool>(paused).map_err(surprise)?;
    let mut scores: Vec<Option<f64>> = Vec::with_capacity(ids.len());
    for value in values {
        scores.extend(redis::from_redis_value::<Vec<Option<f64>>>(value).map_err(surprise)?);
    }
    if scores.len() != ids.len() {
        return Err(StoreError::Unexpected("EXISTS, ZMSCORE"));
    }
    let found = ids.iter().zip(scores).filter(|(_, score)| score.is_some());
    Ok(QueueState { paused, cancelled: found.map(|(id, _)| id.clone()).collect() })
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    #[test]
    fn only_ids_with_a_score_are_cancelled() {
        let ids = ["a", "b"].map(str::to_owned);
        let scores = Value::Array(vec![Value::Nil, Value::BulkString(b"7".into())]);
        let found = state(&ids, vec![Value::Int(1), scores]).unwrap();
        assert_eq!(found, QueueState { paused: true, cancelled: vec!["b".to_owned()] });
    }

    #[test]
    fn scores_that_do_not_fit_the_ids_are_an_error() {
        let ids = ["a".to_owned()];
        for values in [vec![], vec![Value::Int(0)], vec![Value::Int(0), Value::Int(7)]] {
            assert!(matches!(state(&ids, values), Err(StoreError::Unexpected(_))));
        }
    }
}
