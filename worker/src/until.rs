//! A point in time that may not be set.

use tokio::time::{Instant, sleep_until};

/// Ends then; never, if there is none. Cancel safe.
pub(crate) async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
