//! Asking whether a queue has workers, without handing anything to it.

use std::time::Duration;

use crate::store::error::StoreError;
use crate::store::keys::QueueKeys;
use crate::store::link::Link;

impl Link {
    /// Whether a worker listens on the queue right now, by Redis's own clock. What is pushed later
    /// is checked again by the script that pushes it.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn is_served(&self, keys: &QueueKeys, within: Duration) -> Result<bool, StoreError> {
        let mut pipe = redis::pipe();
        pipe.cmd("TIME");
        // The lease that ends last.
        pipe.cmd("ZRANGE").arg(keys.workers()).arg(-1).arg(-1).arg("WITHSCORES");
        let asked = self.with(within, async |conn| pipe.query_async(conn).await);
        let (time, last): ((u64, u64), Vec<(String, f64)>) = asked.await?;
        let now_ms = (time.0 * 1000 + time.1 / 1000) as f64;
        Ok(last.first().is_some_and(|(_, ends_at)| *ends_at >= now_ms))
    }
}
