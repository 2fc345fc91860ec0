//! The delay before the next attempt of a failed job.

use std::time::Duration;

use redcall_common::error::Code;
use redcall_common::settings::{Backoff, Retries};

use crate::run::job::Job;

/// The longest retry delay that a handler may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns the delay before the next attempt; `None` if there is none.
pub(crate) fn retry_in(job: &Job, code: Code, after: Option<Duration>) -> Option<Duration> {
    let retries = &job.rules.retries;
    let by_request = job.request.max_attempts.map(|attempts| attempts.saturating_sub(1));
    let further = u64::from(retries.max).min(by_request.unwrap_or(u64::MAX));
    let is_wanted = after.is_some() || retries.on.contains(&code);
    if !is_wanted || u64::from(job.record.fails) >= further {
        return None;
    }
    let drawn = || longest_pause(retries, job.record.fails).mul_f64(random());
    let delay = after.map_or_else(drawn, |after| after.min(MAX_RETRY_AFTER));
    // A retry that would start after the caller's deadline is not scheduled.
    let in_time = job.context().remaining().is_none_or(|left| delay < left);
    in_time.then_some(delay)
}

/// Returns the longest delay after this many earlier failures.
fn longest_pause(retries: &Retries, fails: u32) -> Duration {
    match retries.backoff {
        Backoff::Constant => retries.base,
        Backoff::Exponential => {
            let doubled = 2_u32.checked_pow(fails).and_then(|by| retries.base.checked_mul(by));
            doubled.map_or(retries.cap, |pause| pause.min(retries.cap))
        }
    }
}

/// Returns a number from 0 to 1. Each hasher of the standard library has its own keys: random
/// enough to spread load.
fn random() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let bits = std::hash::RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_cap() {
        let retries = Retries {
            base: Duration::from_millis(100),
            cap: Duration::from_millis(350),
            ..Retries::default()
        };
        let pauses = [0, 1, 2, 40].map(|fails| longest_pause(&retries, fails).as_millis());
        assert_eq!(pauses, [100, 200, 350, 350]);
        let constant = Retries { backoff: Backoff::Constant, ..retries };
        assert_eq!(longest_pause(&constant, 9), constant.base);
    }

    #[test]
    fn jitter_is_full() {
        let drawn: Vec<f64> = (0..1000).map(|_| random()).collect();
        assert!(drawn.iter().all(|x| (0.0..1.0).contains(x)));
        let low = drawn.iter().filter(|x| **x < 0.5).count();
        assert!((350..650).contains(&low), "{low}");
    }
}
