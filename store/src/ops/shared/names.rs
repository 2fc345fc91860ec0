//! The job names that live workers of a queue handle, as registered by their heartbeats.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::millis;
use redcall_common::keys::QueueKeys;

/// The current time, and for each name the Redis time (ms) until which a worker handles it.
pub(crate) type Names = ((u64, u64), Vec<(String, f64)>);

impl Connection {
    pub(crate) async fn mapped_names(
        &self,
        keys: &QueueKeys,
        timeout: Duration,
    ) -> Result<BTreeSet<String>, StoreError> {
        let pipe = names_call(keys);
        let names = self.with(timeout, async |conn| pipe.query_async(conn).await).await?;
        Ok(live_names(names))
    }
}

/// Returns the commands that read [`Names`].
pub(crate) fn names_call(keys: &QueueKeys) -> redis::Pipeline {
    let mut pipe = redis::pipe();
    pipe.cmd("TIME");
    pipe.cmd("ZRANGE").arg(keys.names()).arg(0).arg(-1).arg("WITHSCORES");
    pipe
}

/// Returns the names that a live worker handles.
pub(crate) fn live_names((time, names): Names) -> BTreeSet<String> {
    let now = millis(time) as f64;
    names.into_iter().filter(|(_, until)| *until > now).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expired_name_is_handled_by_no_worker() {
        let names = vec![("old".to_owned(), 1000.0), ("new".to_owned(), 1002.0)];
        assert_eq!(live_names(((1, 1999), names)), ["new".to_owned()].into());
    }
}
