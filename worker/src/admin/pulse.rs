//! By what the loop that talks to Redis shows that it goes round.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redcall_common::settings::Settings;
use redcall_common::time::millis;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The loop may stand still that many leases ...
const LEASES: u32 = 3;
/// ... but at least, and at most, that long.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(60);
/// How often it goes round although nothing happens.
const EVERY: Duration = Duration::from_secs(1);

/// Written by the dispatcher, read by `/live`.
pub(crate) struct Pulse {
    start: Instant,
    /// When the loop last went round, ms since the start.
    last: AtomicU64,
    /// Whether it has begun to.
    begun: AtomicBool,
    bound: Duration,
}

impl Pulse {
    pub(crate) fn new(settings: &Settings) -> Self {
        let bound = settings.worker.lease.saturating_mul(LEASES).clamp(SHORTEST, LONGEST);
        let start = Instant::now();
        Self { start, last: AtomicU64::new(0), begun: AtomicBool::new(false), bound }
    }

    /// The loop goes round.
    pub(crate) fn beat(&self) {
        let now = millis(self.start.elapsed());
        self.last.store(now, Ordering::Relaxed);
        self.begun.store(true, Ordering::Relaxed);
    }

    /// Has the loop go round often enough.
    pub(crate) fn interval(&self) -> Interval {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    /// Whether the loop has begun: before that the worker connects, which has bounds of its own.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// For how long the loop has stood still, if that is too long.
    pub(crate) fn standstill(&self) -> Option<Duration> {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        let ago = self.start.elapsed().saturating_sub(last);
        (self.has_begun() && ago > self.bound).then_some(ago)
    }
}
