//! The parts of a connection's responses that its peer has not taken: a peer grants flow control
//! windows as it likes, and the HTTP/2 library waits for them without a limit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::door::{LEAST_PACE, Patience};

/// How long no part of any response may be taken while some wait.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// How long no part of one response may be taken while some of it waits. Longer, since responses
/// share the peer's network.
const RESPONSE_LIMIT: Duration = Duration::from_secs(60);
/// The least pace of one of up to 100 responses, bytes per second.
const RESPONSE_PACE: u32 = LEAST_PACE / 100;
/// Period of the check.
const CHECK: Duration = Duration::from_secs(1);
/// The largest part, bytes: that of an HTTP/2 frame.
const PART: usize = 16 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Flow(Mutex<Waiting>);

/// The responses of which some part waits. Pure.
#[derive(Debug)]
struct Waiting {
    /// By number.
    responses: BTreeMap<u64, Parts>,
    last_number: u64,
    patience: Patience,
}

#[derive(Debug)]
struct Parts {
    /// Never 0.
    count: usize,
    patience: Patience,
}

impl Default for Waiting {
    fn default() -> Self {
        let patience = Patience::new(CONNECTION_LIMIT, LEAST_PACE);
        Self { responses: BTreeMap::new(), last_number: 0, patience }
    }
}

impl Waiting {
    fn begin(&mut self, number: u64, now: Instant) {
        self.patience.waits(now);
        let patience = || Patience::new(RESPONSE_LIMIT, RESPONSE_PACE);
        let new = || Parts { count: 0, patience: patience() };
        let parts = self.responses.entry(number).or_insert_with(new);
        parts.patience.waits(now);
        parts.count += 1;
    }

    fn end(&mut self, number: u64, now: Instant) {
        let Some(parts) = self.responses.get_mut(&number) else { return };
        parts.count -= 1;
        if parts.count == 0 {
            self.responses.remove(&number);
        }
        if self.responses.is_empty() {
            self.patience.taken(0, now);
        }
    }

    /// The peer has taken `bytes` of a response; the part that they belong to still waits.
    fn taken(&mut self, number: u64, bytes: usize, now: Instant) {
        let parts = self.responses.get_mut(&number).map(|parts| &mut parts.patience);
        for patience in std::iter::once(&mut self.patience).chain(parts) {
            patience.taken(bytes, now);
            patience.waits(now);
        }
    }

    fn is_stalled(&self, now: Instant) -> bool {
        let of_responses = self.responses.values().map(|parts| &parts.patience);
        let mut all = std::iter::once(&self.patience).chain(of_responses);
        all.any(|patience| patience.end().is_some_and(|end| end <= now))
    }
}

impl Flow {
    /// Completes when the peer takes nothing for too long. Cancel safe.
    pub(crate) async fn stalled(&self) {
        let mut ticks = interval(CHECK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.waiting().is_stalled(Instant::now()) {
                return;
            }
        }
    }

    /// Returns the next response's share.
    pub(crate) fn response(self: &Arc<Self>) -> Share {
        let mut waiting = self.waiting();
        waiting.last_number += 1;
        Share { flow: self.clone(), number: waiting.last_number }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // No code that holds the lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One response.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    flow: Arc<Flow>,
    number: u64,
}

impl Share {
    /// Counts a part that waits until the result is dropped.
    pub(crate) fn waits(&self) -> Waits {
        self.flow.waiting().begin(self.number, Instant::now());
        Waits(self.clone())
    }

    /// Splits the next part off `rest`.
    pub(crate) fn part(&self, rest: &mut Bytes) -> Part {
        let bytes = rest.split_to(rest.len().min(PART));
        Part { bytes, waits: self.waits() }
    }
}

/// A part that waits.
#[derive(Debug)]
pub(crate) struct Waits(Share);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.flow.waiting().end(self.0.number, Instant::now());
    }
}

/// A part of a message, for the HTTP/2 library: it waits until the library drops it.
#[derive(Debug)]
pub(crate) struct Part {
    bytes: Bytes,
    waits: Waits,
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        let Share { flow, number } = &self.waits.0;
        flow.waiting().taken(*number, count, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_whose_peer_takes_nothing_is_stalled() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        waiting.begin(1, start);
        waiting.begin(1, at(5));
        assert!(!waiting.is_stalled(at(9)) && waiting.is_stalled(at(10)));
        waiting.taken(1, PART, at(9));
        assert!(!waiting.is_stalled(at(18)) && waiting.is_stalled(at(19)));
        waiting.end(1, at(9));
        assert!(waiting.is_stalled(at(19)), "one part still waits");
        waiting.end(1, at(9));
        assert!(!waiting.is_stalled(at(99)), "nothing waits");
        waiting.begin(2, at(100));
        assert!(!waiting.is_stalled(at(109)) && waiting.is_stalled(at(110)));
    }

    #[test]
    fn response_that_is_never_taken_is_stalled_beside_others() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        waiting.begin(1, start);
        waiting.begin(2, start);
        for seconds in 1..60 {
            let now = start + Duration::from_secs(seconds);
            waiting.taken(2, PART, now);
            assert!(!waiting.is_stalled(now));
        }
        let now = start + Duration::from_secs(60);
        waiting.taken(2, PART, now);
        assert!(waiting.is_stalled(now));
    }

    #[test]
    fn peer_that_takes_single_bytes_is_stalled() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        waiting.begin(1, start);
        waiting.taken(1, 1, at(9));
        assert!(!waiting.is_stalled(at(9)) && waiting.is_stalled(at(11)));
        // One of several responses, beside others that are taken.
        waiting.begin(2, start);
        for seconds in 1..=70 {
            waiting.taken(2, PART, at(seconds));
        }
        assert!(waiting.is_stalled(at(70)));
    }

    #[test]
    fn message_is_taken_in_parts_that_count_until_they_are_dropped() {
        let flow = Arc::new(Flow::default());
        let share = flow.response();
        let mut rest = Bytes::from(vec![7; PART + 1]);
        let (mut first, second) = (share.part(&mut rest), share.part(&mut rest));
        assert_eq!((first.remaining(), second.remaining(), rest.len()), (PART, 1, 0));
        first.advance(PART);
        assert!(!first.has_remaining());
        assert_eq!(flow.waiting().responses[&1].count, 2);
        drop((first, second));
        assert!(flow.waiting().responses.is_empty());
    }
}
