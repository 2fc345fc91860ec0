//! The subscriptions of one subscriber.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::zmtp::wire::violation::Violation;

/// The most distinct subscriptions of one subscriber.
pub const MAX_FILTERS: usize = 1024;

/// Length of a topic, bytes.
const TOPIC: usize = 4;

/// The prefixes to which one subscriber has subscribed. As in ZeroMQ, subscriptions to one prefix
/// are counted: the last cancellation ends it.
#[derive(Debug, Default)]
pub struct Filters {
    counts: BTreeMap<Bytes, u32>,
}

impl Filters {
    /// Adds a subscription. A prefix that is longer than a topic matches none, and is not kept.
    ///
    /// # Errors
    ///
    /// [`Violation::TooManyFilters`].
    pub fn subscribe(&mut self, prefix: &[u8]) -> Result<(), Violation> {
        if prefix.len() > TOPIC {
            return Ok(());
        }
        if let Some(count) = self.counts.get_mut(prefix) {
            *count = count.saturating_add(1);
            return Ok(());
        }
        if self.counts.len() == MAX_FILTERS {
            return Err(Violation::TooManyFilters { limit: MAX_FILTERS });
        }
        // A copy: the original would keep the buffer that it was read from.
        self.counts.insert(Bytes::copy_from_slice(prefix), 1);
        Ok(())
    }

    /// Ends one subscription, if there is one.
    pub fn cancel(&mut self, prefix: &[u8]) {
        if let Some(count) = self.counts.get_mut(prefix) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(prefix);
            }
        }
    }

    /// Returns `true` if a message on `topic` is for this subscriber.
    #[must_use]
    pub fn matches(&self, topic: [u8; TOPIC]) -> bool {
        (0..=TOPIC).any(|length| self.counts.contains_key(&topic[..length]))
    }
}
