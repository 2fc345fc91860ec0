//! The log budget of one job's programs.
//!
//! A program that writes more to stderr continues: the worker reads it, no faster than `paced.rs`
//! allows. Lines beyond the budget are dropped, counted, and reported in one line every
//! [`REPORT_INTERVAL`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redcall_common::time::millis;
use tokio::runtime::Handle;

use crate::log::dropped::{Reason, count};

/// Longest line that is logged, bytes.
pub(crate) const LINE: u64 = 8 << 10;
/// Log budget of a job, in lines and in bytes: the burst, and the rate.
const LINES: Bucket = Bucket { burst: 10_000, per_second: 1000 };
const BYTES: Bucket = Bucket { burst: 1 << 20, per_second: 64 << 10 };
/// Time between two lines about dropped ones.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// The size of a budget, and its refill rate.
struct Bucket {
    burst: u64,
    per_second: u64,
}

impl Bucket {
    fn refilled(&self, left: u64, gained_ms: u64) -> u64 {
        left.saturating_add(gained_ms.saturating_mul(self.per_second) / 1000).min(self.burst)
    }
}

/// See the module. Shared by all runs of a job; dropped with its mapping.
pub(crate) struct Budget {
    job: String,
    state: Mutex<BudgetState>,
}

struct BudgetState {
    /// Time of the last refill, to the millisecond.
    at: Instant,
    lines: u64,
    bytes: u64,
    /// Dropped, and not reported yet.
    dropped: Dropped,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Dropped {
    lines: u64,
    bytes: u64,
}

impl Budget {
    /// Returns the full budget for the programs of `job`.
    pub(crate) fn of(job: &str) -> Arc<Self> {
        let (at, dropped) = (Instant::now(), Dropped::default());
        let state = BudgetState { at, lines: LINES.burst, bytes: BYTES.burst, dropped };
        Arc::new(Self { job: job.to_owned(), state: Mutex::new(state) })
    }

    /// Returns `true` if no line can be logged now.
    pub(crate) fn is_spent(&self) -> bool {
        let mut state = self.lock();
        state.refill(Instant::now());
        state.is_spent()
    }

    /// Takes a line of `bytes`, up to [`LINE`]. Returns `false` if the line must not be logged;
    /// then it is counted as dropped.
    pub(crate) fn admit(self: &Arc<Self>, bytes: u64) -> bool {
        let mut state = self.lock();
        state.refill(Instant::now());
        if state.is_spent() {
            drop(state);
            self.drop_lines(1, bytes);
            return false;
        }
        state.lines -= 1;
        state.bytes = state.bytes.saturating_sub(bytes);
        true
    }

    /// Counts dropped lines, and schedules the report.
    pub(crate) fn drop_lines(self: &Arc<Self>, lines: u64, bytes: u64) {
        count(Reason::Budget, lines);
        let mut state = self.lock();
        let is_first = state.dropped == Dropped::default();
        state.dropped.lines += lines;
        state.dropped.bytes += bytes;
        drop(state);
        // Without a runtime they are reported when the budget is dropped.
        if let (true, Ok(runtime)) = (is_first, Handle::try_current()) {
            let budget = Arc::downgrade(self);
            runtime.spawn(async move {
                tokio::time::sleep(REPORT_INTERVAL).await;
                if let Some(budget) = budget.upgrade() {
                    budget.report();
                }
            });
        }
    }

    fn report(&self) {
        let Dropped { lines, bytes } = std::mem::take(&mut self.lock().dropped);
        if (lines, bytes) != (0, 0) {
            let name = &self.job;
            tracing::warn!(name, lines, bytes, "dropped stderr lines beyond the job's log budget");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BudgetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.report();
    }
}

impl BudgetState {
    /// Less than the longest line counts as nothing: otherwise short lines would starve it.
    fn is_spent(&self) -> bool {
        self.lines == 0 || self.bytes < LINE
    }

    fn refill(&mut self, now: Instant) {
        let gained_ms = millis(now.saturating_duration_since(self.at));
        self.lines = LINES.refilled(self.lines, gained_ms);
        self.bytes = BYTES.refilled(self.bytes, gained_ms);
        // The remaining fraction of a millisecond counts next time.
        self.at += Duration::from_millis(gained_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(lines: u64, bytes: u64) -> BudgetState {
        BudgetState { at: Instant::now(), lines, bytes, dropped: Dropped::default() }
    }

    #[test]
    fn spent_budget_gains_its_rate_and_no_more_than_its_size() {
        let mut state = state(0, 0);
        state.refill(state.at + Duration::from_millis(1500));
        assert_eq!((state.lines, state.bytes), (1500, 96 << 10));
        state.refill(state.at + Duration::from_secs(86_400));
        assert_eq!((state.lines, state.bytes), (LINES.burst, BYTES.burst));
    }

    #[test]
    fn fractions_of_a_millisecond_are_not_lost() {
        let mut state = state(0, 0);
        let begun = state.at;
        for step in 1..=20_000 {
            state.refill(begun + Duration::from_micros(100 * step));
        }
        assert_eq!(state.lines, 2000);
    }

    #[test]
    fn lines_beyond_the_budget_are_dropped_and_counted() {
        let budget = Budget::of("loud");
        let admitted = (0..1000).filter(|_| budget.admit(LINE)).count() as u64;
        // The refill meanwhile counts, too.
        assert!((BYTES.burst / LINE..500).contains(&admitted), "{admitted}");
        assert!(budget.lock().dropped.lines == 1000 - admitted);
        budget.report();
        assert_eq!(budget.lock().dropped, Dropped::default());
    }
}
