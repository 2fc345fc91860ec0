//! Times in whole milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns whole milliseconds, saturating.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns `time` as Unix time in ms; times before 1970 as 0.
#[must_use]
pub fn unix_ms(time: SystemTime) -> u64 {
    millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Returns this machine's wall clock, Unix time in ms.
#[must_use]
pub fn now_ms() -> u64 {
    unix_ms(SystemTime::now())
}
