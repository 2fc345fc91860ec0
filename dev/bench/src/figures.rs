//! The figures of a load generator.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Waited calls. Its JSON is one object, whose names are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CallFigures {
    /// Answered calls per second.
    pub calls_per_s: f64,
    /// The median duration of a call, µs.
    pub p50_us: f64,
    /// 99 % of them.
    pub p99_us: f64,
    /// 99.9 % of them.
    pub p999_us: f64,
    /// How many were answered.
    pub calls: u64,
    /// How many were not.
    pub errors: u64,
}

/// Jobs without a waiting caller, enqueued or done. Its JSON is one object with fixed names.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct JobFigures {
    /// Jobs per second.
    pub jobs_per_s: f64,
    /// How many.
    pub jobs: u64,
    /// How many could not be enqueued.
    pub errors: u64,
}

impl JobFigures {
    pub(crate) fn of(jobs: u64, errors: u64, took: Duration) -> Self {
        Self { jobs_per_s: jobs as f64 / took.as_secs_f64(), jobs, errors }
    }
}

/// The times of any number of calls, 1 µs to 10 min, to three digits.
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self::new()
    }
}

impl Times {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        // From 1 us to more than any call takes, with three digits: bounded memory for any number
        // of calls.
        let histogram = Histogram::new_with_bounds(1000, 600_000_000_000, 3);
        // The bounds are constants, and valid.
        Self(histogram.unwrap_or_else(|_| unreachable!("bounds that fit")))
    }

    /// Another one.
    pub fn note(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(ns);
    }

    /// Computes the figures, for a measurement that lasted `took`.
    #[must_use]
    pub fn figures(&self, errors: u64, took: Duration) -> CallFigures {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1000.0;
        let calls = self.0.len();
        CallFigures {
            calls_per_s: calls as f64 / took.as_secs_f64(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            calls,
            errors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_all_times() {
        let mut times = Times::new();
        (1..=1000).for_each(|us| times.note(Duration::from_micros(us)));
        let figures = times.figures(3, Duration::from_secs(2));
        assert_eq!((figures.calls, figures.errors, figures.calls_per_s), (1000, 3, 500.0));
        let near = |us: f64, expected: f64| (us - expected).abs() <= expected / 500.0;
        assert!(near(figures.p50_us, 500.0) && near(figures.p99_us, 990.0), "{figures:?}");
        assert!(near(figures.p999_us, 999.0), "{figures:?}");
    }
}
