//! Waiting for an optional point in time.

use tokio::time::{Instant, sleep_until};

/// Completes at `instant`; never, if it is `None`. Cancel safe.
pub(crate) async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
