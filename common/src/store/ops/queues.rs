//! The set of queue names: the one key without a queue tag, so no script takes it.

use std::time::Duration;

use crate::store::error::StoreError;
use crate::store::keys::Keys;
use crate::store::link::Link;

const KEPT: i64 = 10_000;
const KEPT_FOR_SECONDS: i64 = 30 * 24 * 3600;

impl Link {
    /// Notes that `queues` are in use, so that people find them.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn note_queues(
        &self,
        keys: &Keys,
        queues: &[&str],
        within: Duration,
    ) -> Result<(), StoreError> {
        let (key, now) = (keys.queues(), self.now_ms());
        let mut pipe = redis::pipe();
        for queue in queues {
            pipe.cmd("ZADD").arg(&key).arg(now).arg(queue).ignore();
        }
        pipe.cmd("ZREMRANGEBYRANK").arg(&key).arg(0).arg(-KEPT - 1).ignore();
        pipe.cmd("EXPIRE").arg(&key).arg(KEPT_FOR_SECONDS).ignore();
        self.with(within, async |conn| pipe.exec_async(conn).await).await
    }
}
