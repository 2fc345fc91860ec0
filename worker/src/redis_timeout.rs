//! The timeout of operations at Redis, and the pause before one is retried.

use std::time::Duration;

/// How long an operation at Redis waits for a connection before it is retried.
pub(crate) const REDIS_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause before a failed operation is retried.
pub(crate) const REDIS_PAUSE: Duration = Duration::from_millis(100);
