//! Pauses between attempts, and an attempt that is repeated until a deadline.
//!
//! The caller decides which errors are worth another attempt.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Pauses that double from the first one up to the longest one. A caller keeps the present pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// Creates pauses from `first` up to `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// Creates pauses of one length.
    #[must_use]
    pub const fn constant(pause: Duration) -> Self {
        Self::new(pause, pause)
    }

    /// Returns the first pause.
    #[inline]
    #[must_use]
    pub const fn first(&self) -> Duration {
        self.first
    }

    /// Returns the pause that follows `pause`.
    #[inline]
    #[must_use]
    pub fn following(&self, pause: Duration) -> Duration {
        pause.saturating_mul(2).min(self.longest)
    }

    /// Returns the pause after this many earlier failures.
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        let doubled = 2_u32.checked_pow(failures).and_then(|by| self.first.checked_mul(by));
        doubled.map_or(self.longest, |pause| pause.min(self.longest))
    }
}

/// Draws a pause evenly between zero and `longest` (full jitter), so that many programs that failed
/// together do not retry together.
#[must_use]
pub fn jittered(longest: Duration) -> Duration {
    longest.mul_f64(fastrand::f64())
}

/// Repeats `attempt` after errors that are transient, with pauses, as long as the next attempt
/// begins before `deadline`. An attempt that has begun is not bounded: bound it, or the whole.
///
/// # Errors
///
/// The error of the last attempt. Dropping the future drops the present attempt.
pub async fn retry_until<T, E, F: Future<Output = Result<T, E>>>(
    deadline: Instant,
    backoff: Backoff,
    is_transient: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E> {
    let mut pause = backoff.first();
    loop {
        match attempt().await {
            Err(error) if is_transient(&error) && Instant::now() + pause < deadline => {
                sleep(pause).await;
                pause = backoff.following(pause);
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff::new(MS(100), MS(350));
        assert_eq!([0, 1, 2, 40].map(|n| backoff.after(n).as_millis()), [100, 200, 350, 350]);
        let second = backoff.following(backoff.first());
        assert_eq!((second, backoff.following(second)), (MS(200), MS(350)));
        let constant = Backoff::constant(MS(50));
        assert_eq!((constant.following(constant.first()), constant.after(9)), (MS(50), MS(50)));
    }

    #[test]
    fn jitter_is_full() {
        let drawn: Vec<Duration> = (0..1000).map(|_| jittered(MS(1000))).collect();
        assert!(drawn.iter().all(|pause| *pause < MS(1000)));
        let low = drawn.iter().filter(|pause| **pause < MS(500)).count();
        assert!((350..650).contains(&low), "{low}");
    }

    /// Runs attempts with these results in turn. Returns the result and the number of attempts.
    fn run(results: &[Result<(), bool>], timeout: Duration) -> (Result<(), bool>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut count = 0;
        let result = runtime.block_on(async {
            let deadline = Instant::now() + timeout;
            retry_until(
                deadline,
                Backoff::constant(MS(1)),
                |is_transient| *is_transient,
                || {
                    count += 1;
                    std::future::ready(results[(count - 1).min(results.len() - 1)])
                },
            )
            .await
        });
        (result, count)
    }

    #[test]
    fn transient_error_is_retried_until_success_or_deadline() {
        let minute = Duration::from_secs(60);
        assert_eq!(run(&[Err(true), Err(true), Ok(())], minute), (Ok(()), 3));
        assert_eq!(run(&[Err(true), Err(false), Ok(())], minute), (Err(false), 2));
        assert_eq!(run(&[Err(true)], Duration::ZERO), (Err(true), 1));
    }
}
