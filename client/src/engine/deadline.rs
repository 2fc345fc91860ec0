//! Deadlines of waits.

use std::time::Duration;

use tokio::time::Instant;

/// Returns the instant `timeout` from now, at most one year.
pub(crate) fn deadline_in(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(Duration::from_secs(365 * 86_400))
}

/// Returns the time left until `deadline`; zero if it has passed.
pub(crate) fn left_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
