//! Arbitrates between the sender that writes a fire-and-forget request and a caller that gives up.
//!
//! For awaited requests, `in_flight/mod.rs` does this under its lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const HANDED_IN: u8 = 0;
const SENT: u8 = 1;
const ABANDONED: u8 = 2;

/// Shared by one caller and the sender. Exactly one of them wins.
#[derive(Debug, Clone, Default)]
pub(crate) struct SendClaim(Arc<AtomicU8>);

impl SendClaim {
    /// Claims the request for writing; returns `false` if the caller has given up.
    pub(crate) fn send(&self) -> bool {
        self.leave(SENT)
    }

    /// Abandons the request; returns `false` if it is written or about to be.
    pub(crate) fn give_up(&self) -> bool {
        self.leave(ABANDONED)
    }

    fn leave(&self, to: u8) -> bool {
        self.0.compare_exchange(HANDED_IN, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_first_claim_wins() {
        let sent = SendClaim::default();
        assert!(sent.send() && !sent.give_up());
        let given_up = SendClaim::default();
        assert!(given_up.give_up() && !given_up.clone().send());
    }
}
