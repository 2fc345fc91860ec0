//! The bound on slow readers. Pure: callers pass the time.

use std::time::Duration;

use tokio::time::Instant;

/// The time that a peer has left to keep writes waiting. It earns more with the bytes that it
/// takes.
///
/// A limit of each single wait would not do: a peer that takes one byte shortly before its end
/// would keep its connection, and the memory of its messages, without limit.
#[derive(Debug)]
pub(crate) struct Patience {
    /// The longest time that may be left.
    max: Duration,
    /// The bytes that earn a second: the least pace of a reader.
    pace: u32,
    left: Duration,
    /// When the wait has begun; `None` if nothing waits.
    since: Option<Instant>,
}

impl Patience {
    /// Begins with `max`.
    pub(crate) fn new(max: Duration, pace: u32) -> Self {
        Self { max, pace, left: max, since: None }
    }

    /// Notes that something waits for the peer. Returns when the peer has used up its time.
    pub(crate) fn waits(&mut self, now: Instant) -> Instant {
        *self.since.get_or_insert(now) + self.left
    }

    /// Notes that the peer has taken `bytes`, and that nothing waits.
    pub(crate) fn taken(&mut self, bytes: usize, now: Instant) {
        if let Some(since) = self.since.take() {
            self.left = self.left.saturating_sub(now.saturating_duration_since(since));
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1).mul_f64(f64::from(bytes) / f64::from(self.pace));
        self.left = self.left.saturating_add(earned).min(self.max);
    }

    /// Forgets a wait whose writer has given up.
    pub(crate) fn forget_wait(&mut self) {
        self.since = None;
    }

    /// Returns when the peer has used up its time; `None` if nothing waits.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.since.map(|since| since + self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(10);
    const PACE: u32 = 1024;

    /// Takes `bytes` after each wait of `wait`; returns after how long the patience ends.
    fn reads(bytes: usize, wait: Duration) -> Option<Duration> {
        let (mut patience, start) = (Patience::new(MAX, PACE), Instant::now());
        let mut now = start;
        for _ in 0..10_000 {
            let end = patience.waits(now);
            if end <= now + wait {
                return Some(end - start);
            }
            now += wait;
            patience.taken(bytes, now);
        }
        None
    }

    #[test]
    fn reader_of_single_bytes_ends_soon() {
        let end = reads(1, Duration::from_secs(9)).expect("an end");
        assert!(MAX <= end && end < MAX + Duration::from_millis(10), "{end:?}");
        let end = reads(1, Duration::from_millis(10)).expect("an end");
        assert!(end < 2 * MAX, "{end:?}");
        assert_eq!(reads(0, Duration::from_secs(1)), Some(MAX));
    }

    #[test]
    fn reader_at_the_least_pace_has_no_end() {
        assert_eq!(reads(1024, Duration::from_secs(1)), None);
        assert_eq!(reads(9 * 1024, Duration::from_secs(9)), None);
        assert!(reads(1000, Duration::from_secs(1)).is_some());
    }

    #[test]
    fn prompt_reader_earns_no_more_than_the_most() {
        let (mut patience, start) = (Patience::new(MAX, PACE), Instant::now());
        patience.taken(usize::MAX, start);
        assert_eq!(patience.end(), None);
        assert_eq!(patience.waits(start), start + MAX);
        // The wait goes on.
        assert_eq!(patience.waits(start + MAX / 2), start + MAX);
        patience.forget_wait();
        assert_eq!(patience.waits(start + MAX), start + 2 * MAX);
    }
}
