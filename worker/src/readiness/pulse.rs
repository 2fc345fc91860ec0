//! The I/O loop's sign of progress.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redcall_common::settings::Settings;
use redcall_common::time::millis;
use tokio::time::Interval;

use crate::time::every;

/// The loop counts as stalled after this many leases without progress ...
const LEASES: u32 = 3;
/// ... within these bounds.
const MIN_STALL: Duration = Duration::from_secs(5);
const MAX_STALL: Duration = Duration::from_secs(60);
/// How often the loop runs when nothing happens.
const LOOP_PERIOD: Duration = Duration::from_secs(1);

/// Written by the dispatcher, read by `/live`.
pub(crate) struct Pulse {
    start: Instant,
    /// Time of the loop's last iteration, ms since the start.
    last: AtomicU64,
    /// `true` once the loop has begun.
    begun: AtomicBool,
    bound: Duration,
}

impl Pulse {
    pub(crate) fn new(settings: &Settings) -> Self {
        let bound = settings.worker.lease.saturating_mul(LEASES).clamp(MIN_STALL, MAX_STALL);
        let start = Instant::now();
        Self { start, last: AtomicU64::new(0), begun: AtomicBool::new(false), bound }
    }

    /// Records an iteration of the loop.
    pub(crate) fn record(&self) {
        let now = millis(self.start.elapsed());
        self.last.store(now, Ordering::Relaxed);
        self.begun.store(true, Ordering::Relaxed);
    }

    /// Returns ticks that keep the loop running often enough.
    pub(crate) fn interval(&self) -> Interval {
        every(LOOP_PERIOD)
    }

    /// Returns `true` if the loop has begun. Before that the worker connects, with its own
    /// timeouts.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Returns how long the loop has stalled, if that is too long.
    pub(crate) fn stalled_for(&self) -> Option<Duration> {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        let ago = self.start.elapsed().saturating_sub(last);
        (self.has_begun() && ago > self.bound).then_some(ago)
    }
}
