//! The channel that announces a request's frames, for callers that follow another caller's request.

use std::time::Duration;

use serde::Deserialize;

use crate::connection::Connection;
use crate::error::StoreError;
use redcall_common::keys::QueueKeys;

/// The parts of a request that this module reads.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    notify: Option<String>,
}

impl Connection {
    pub(crate) async fn channel_of(
        &self,
        keys: &QueueKeys,
        id: &str,
        timeout: Duration,
    ) -> Result<Option<String>, StoreError> {
        let live = redis::cmd("HGET").arg(keys.live()).arg(id).to_owned();
        let holder: Option<String> =
            self.with(timeout, async |conn| live.query_async(conn).await).await?;
        // The value is padded, see `live.lua`.
        let Some(worker) = holder.as_deref().map(str::trim_end) else { return Ok(None) };
        let lease = redis::cmd("HGET").arg(keys.leases(worker)).arg(id).to_owned();
        let raw: Option<Vec<u8>> =
            self.with(timeout, async |conn| lease.query_async(conn).await).await?;
        let named = raw.and_then(|raw| serde_json::from_slice::<Named>(&raw).ok());
        Ok(named.and_then(|named| named.notify).filter(|channel| keys.is_notify(channel)))
    }
}
