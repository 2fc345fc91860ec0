//! The two messages of an emergency: a device sends it on the topic of emergencies, and then, with
//! the same content, on that of all events. Redcall has it once on each of its topics.

use std::collections::VecDeque;

use redcall_common::digest;

/// The messages that are remembered: the other one of each follows soon, or never.
const REMEMBERED: usize = 256;

/// The topic of a message of an emergency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// That of emergencies.
    Emergency,
    /// That of all events.
    Event,
}

/// The messages whose other one has not come.
#[derive(Debug, Default)]
pub(super) struct Pairs(VecDeque<(Side, String)>);

impl Pairs {
    /// Returns `true` if the message with this `content` has come on `side`; forgets it.
    pub(super) fn take(&mut self, side: Side, content: &str) -> bool {
        let wanted = (side, digest::of_data(content));
        let found = self.0.iter().position(|message| *message == wanted);
        found.is_some_and(|at| self.0.remove(at).is_some())
    }

    /// Remembers a message until the other one comes.
    pub(super) fn add(&mut self, side: Side, content: &str) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((side, digest::of_data(content)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_one_other_and_the_oldest_are_forgotten() {
        let mut pairs = Pairs::default();
        for content in ["a", "b", "a"] {
            pairs.add(Side::Emergency, content);
        }
        assert!(!pairs.take(Side::Event, "a"), "the same side");
        let mut other = |content| pairs.take(Side::Emergency, content);
        assert_eq!(["b", "a", "a", "a", "c"].map(&mut other), [true, true, true, false, false]);
        for number in 0..=REMEMBERED {
            pairs.add(Side::Event, &number.to_string());
        }
        assert_eq!(pairs.0.len(), REMEMBERED);
        assert!(!pairs.take(Side::Event, "0") && pairs.take(Side::Event, "1"));
    }
}
