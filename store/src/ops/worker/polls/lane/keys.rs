//! An inbox of a lane, a poll of it, and the form of the replies to it.

use crate::error::StoreError;
use crate::ops::worker::polls::outcome::Outcome;
use crate::ops::worker::polls::poll::{Settled, WorkerKeys, settled};

/// One of a worker's two lane inboxes on one queue, with its keys, built once.
#[derive(Debug, Clone)]
pub struct LaneKeys {
    /// The worker's keys.
    pub own: WorkerKeys,
    /// Which inbox, 0 or 1.
    pub number: u8,
    /// The inbox.
    pub inbox: String,
    /// The results of its last settlement.
    pub record: String,
}

impl LaneKeys {
    /// Builds the keys of inbox `number`, 0 or 1.
    #[must_use]
    pub fn new(own: WorkerKeys, number: u8) -> Self {
        let inbox = own.queue.lane_inbox(&own.worker, number);
        let record = own.queue.lane_poll(&own.worker, number);
        Self { own, number, inbox, record }
    }

    /// The text that a reply to settlement `serial` begins with.
    pub(crate) fn answers(&self, serial: u64) -> String {
        format!("{} {serial} ", self.number)
    }
}

/// The state of a queue for a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Plain requests may start.
    Open,
    /// The queue is paused or has more than plain requests: a poll has to take them, and what was
    /// popped has to be adopted.
    Closed,
    /// The worker's own lease has ended: nothing may start before its next heartbeat.
    Expired,
}

/// Reads the results of a settlement. `expected` is the beginning of the reply to this very
/// settlement; `None` if it is not known.
pub(crate) fn results(
    script: &'static str,
    text: &str,
    expected: Option<&str>,
    outcomes: usize,
) -> Result<Vec<Settled>, StoreError> {
    let at = text.rfind(' ').map(|space| space + 1).ok_or(StoreError::Unexpected(script))?;
    let (answers, results) = text.split_at(at);
    if expected.is_some_and(|expected| expected != answers) {
        return Err(StoreError::Unexpected(script));
    }
    settled(script, results, outcomes)
}

/// One poll of a lane.
#[derive(Debug)]
pub struct LanePoll<'a> {
    /// The worker, the queue and the inbox.
    pub keys: &'a LaneKeys,
    /// The outcomes of all requests in the inbox; each an answer or nothing, without side effects.
    /// Another outcome needs a real lease: see [`Adoption`](crate::Adoption).
    pub outcomes: &'a [Outcome],
    /// Number of this settlement among those of the inbox.
    pub serial: u64,
    /// The maximum number of requests to take; 0 to settle only.
    pub take: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_to_another_settlement_is_an_error() {
        let read = |text| results("lane_poll", text, Some("1 17 "), 2);
        assert_eq!(read("1 17 1E").unwrap(), [Settled::Yes, Settled::Failed]);
        for other in ["0 17 11", "1 16 11", "1 17 1", "11", "1 17 1x"] {
            assert!(matches!(read(other), Err(StoreError::Unexpected("lane_poll"))), "{other}");
        }
    }
}
