//! The timeout of operations at Redis.

use std::time::Duration;

/// How long an operation at Redis waits for a connection before it is retried.
pub(crate) const REDIS_TIMEOUT: Duration = Duration::from_secs(1);
