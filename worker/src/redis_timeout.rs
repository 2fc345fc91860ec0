//! The timeout of operations at Redis on the I/O thread.

use std::time::Duration;

/// How long an operation at Redis waits for a connection before it is retried.
pub(super) const REDIS_TIMEOUT: Duration = Duration::from_secs(1);
