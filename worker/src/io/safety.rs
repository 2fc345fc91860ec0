//! Saying once, at the start, that Redis may lose what it is given.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::settings::RedisSettings;
use redcall_store::Link;
use redcall_store::safety;
use tokio::time::timeout;

/// How long it may take to ask; a worker starts without the answer.
const WITHIN: Duration = Duration::from_secs(5);

/// Asks in a task of its own, and logs what somebody should change.
pub(crate) fn warn(link: &Arc<Link>, settings: &RedisSettings) {
    if settings.skip_safety_warning {
        return;
    }
    let link = link.clone();
    tokio::spawn(async move {
        match timeout(WITHIN, link.server_info(WITHIN)).await {
            Ok(Ok(server)) => safety::log(&server),
            Ok(Err(error)) => tracing::debug!(%error, "Redis does not say what it keeps"),
            Err(_) => tracing::debug!("Redis does not say in time what it keeps"),
        }
    });
}
