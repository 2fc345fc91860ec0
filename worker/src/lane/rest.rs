//! When a lane does not pay: its requests are not plain, or run for longer than a millisecond. Each
//! is then adopted, which costs more than a lease at once.

use std::time::Duration;

use redcall_common::backoff::Backoff;
use tokio::time::Instant;

use super::messages::Why;

/// How long the queue's requests are leased at once, before the lane is tried again.
const RESTS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));

/// See the module.
pub(super) struct Rest {
    next: Duration,
    until: Option<Instant>,
}

impl Rest {
    pub(super) fn new() -> Self {
        Self { next: RESTS.first(), until: None }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// Records the end of a lane's work; `has_settled`: it has settled at least one job.
    pub(super) fn ended(&mut self, why: &Why, has_settled: bool, now: Instant) {
        if has_settled {
            self.next = RESTS.first();
        }
        if matches!(why, Why::Slow | Why::Special | Why::Failed(_)) {
            self.until = Some(now + self.next);
            self.next = RESTS.following(self.next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lane_that_does_not_pay_rests_longer_each_time() {
        let (mut rest, mut now) = (Rest::new(), Instant::now());
        rest.ended(&Why::Idle, false, now);
        assert!(rest.is_over(now));
        for ms in [100, 200, 400] {
            rest.ended(&Why::Slow, false, now);
            now += Duration::from_millis(ms - 1);
            assert!(!rest.is_over(now));
            now += Duration::from_millis(1);
            assert!(rest.is_over(now));
        }
        rest.ended(&Why::Special, true, now);
        assert!(rest.is_over(now + Duration::from_millis(100)));
    }
}
