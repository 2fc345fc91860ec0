//! The delay before the next attempt of a failed job.

use std::time::Duration;

use redcall_common::backoff::{Backoff, jittered};
use redcall_common::error::Code;
use redcall_common::limits::MAX_RETRY_DELAY;
use redcall_common::settings::{BackoffKind, Retries};

use crate::run::job::Job;

/// The longest retry delay that a handler may request; at most [`MAX_RETRY_DELAY`].
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
const _: () = assert!(MAX_RETRY_AFTER.as_secs() <= MAX_RETRY_DELAY.as_secs());

/// Returns the delay before the next attempt; `None` if there is none.
pub(crate) fn retry_in(job: &Job, code: Code, after: Option<Duration>) -> Option<Duration> {
    let retries = &job.rules.retries;
    let by_request = job.request.max_attempts.map(|attempts| attempts.saturating_sub(1));
    let further = u64::from(retries.max).min(by_request.unwrap_or(u64::MAX));
    let is_wanted = after.is_some() || retries.on.contains(&code);
    if !is_wanted || u64::from(job.record.fails) >= further {
        return None;
    }
    let drawn = || jittered(longest_pause(retries, job.record.fails));
    let delay = after.map_or_else(drawn, |after| after.min(MAX_RETRY_AFTER));
    // A retry that would start after the caller's deadline is not scheduled.
    let in_time = job.context().remaining().is_none_or(|left| delay < left);
    in_time.then_some(delay)
}

/// Returns the longest delay after this many earlier failures.
fn longest_pause(retries: &Retries, fails: u32) -> Duration {
    match retries.backoff {
        BackoffKind::Constant => retries.base,
        BackoffKind::Exponential => Backoff::new(retries.base, retries.cap).after(fails),
    }
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
        let constant = Retries { backoff: BackoffKind::Constant, ..retries };
        assert_eq!(longest_pause(&constant, 9), constant.base);
    }
}
