//! On which channel a request's frames are announced: for who follows what others have asked for.

use std::time::Duration;

use serde::Deserialize;

use crate::error::StoreError;
use crate::link::Link;
use redcall_common::keys::QueueKeys;

/// What of a request is wanted.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    notify: Option<String>,
}

impl Link {
    /// The channel that request `id` names; none while no worker holds its lease, or if it names
    /// none.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn channel_of(
        &self,
        keys: &QueueKeys,
        id: &str,
        within: Duration,
    ) -> Result<Option<String>, StoreError> {
        let live = redis::cmd("HGET").arg(keys.live()).arg(id).to_owned();
        let holder: Option<String> =
            self.with(within, async |conn| live.query_async(conn).await).await?;
        // It is padded, as `live.lua` says.
        let Some(worker) = holder.as_deref().map(str::trim_end) else { return Ok(None) };
        let lease = redis::cmd("HGET").arg(keys.leases(worker)).arg(id).to_owned();
        let raw: Option<Vec<u8>> =
            self.with(within, async |conn| lease.query_async(conn).await).await?;
        let named = raw.and_then(|raw| serde_json::from_slice::<Named>(&raw).ok());
        Ok(named.and_then(|named| named.notify).filter(|channel| keys.is_notify(channel)))
    }
}
