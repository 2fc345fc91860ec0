//! Redis's clock, as an offset from the monotonic clock of this process.

use std::sync::LazyLock;
use std::time::Instant;

use redcall_common::time::millis;

/// Returns the monotonic time of this process, ms.
pub(super) fn monotonic_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    millis(START.elapsed())
}

/// Returns the offset from our monotonic clock to Redis's. Any Redis time is valid: none may panic.
pub(super) fn clock_offset(redis_ms: i64, read_at: u64) -> i64 {
    redis_ms.saturating_sub(i64::try_from(read_at).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_clock_is_clamped() {
        assert_eq!(clock_offset(1000, 400), 600);
        assert_eq!(clock_offset(i64::MIN, 400), i64::MIN);
        assert_eq!(clock_offset(i64::MAX, u64::MAX), 0);
    }
}
