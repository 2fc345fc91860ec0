//! A warning at the start if Redis may lose data.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::settings::RedisSettings;
use redcall_store::safety;
use redcall_store::{CheckOps as _, Connection};
use tokio::time::timeout;

/// Timeout of the check; the worker starts without its result.
const INFO_TIMEOUT: Duration = Duration::from_secs(5);

/// Checks the settings of Redis in a task of its own, and logs recommended changes.
pub(crate) fn warn(link: &Arc<Connection>, settings: &RedisSettings) {
    if settings.skip_safety_warning {
        return;
    }
    let link = link.clone();
    tokio::spawn(async move {
        match timeout(INFO_TIMEOUT, link.server_info(INFO_TIMEOUT)).await {
            Ok(Ok(server)) => safety::log(&server),
            Ok(Err(error)) => tracing::debug!(%error, "cannot check the persistence of Redis"),
            Err(_) => tracing::debug!("cannot check the persistence of Redis: timed out"),
        }
    });
}
