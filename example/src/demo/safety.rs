//! Warns once about a Redis that may lose data, unless it is the demo's own.

use std::time::Duration;

use redcall_common::keys::Keys;
use redcall_common::settings::RedisSettings;
use redcall_store::Connector;
use redcall_store::inspect::Inspector;
use redcall_store::safety;
use tokio::time::timeout;

/// Timeout of the check.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Checks and logs; on a timeout it does nothing.
pub(super) async fn warn(settings: &RedisSettings) {
    if settings.skip_safety_warning {
        return;
    }
    let Ok(connector) = Connector::new(settings, "example") else { return };
    let inspector = Inspector::new(&connector, Keys::new(&settings.prefix));
    if let Ok(Ok(server)) = timeout(TIMEOUT, inspector.server_info()).await {
        safety::log(&server);
    }
}
