//! Waiting for an optional point in time, regular ticks, and the times of operations at Redis.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

/// How long an operation at Redis waits for a connection before it is retried.
pub(crate) const REDIS_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause before a failed operation is retried.
pub(crate) const REDIS_PAUSE: Duration = Duration::from_millis(100);

/// Completes at `instant`; never, if it is `None`. Cancel safe.
pub(crate) async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Returns ticks without bursts, the first at once: a late tick delays the next ones.
pub(crate) fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
