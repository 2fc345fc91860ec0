//! Messages on a queue's control channel, from scripts and operators to workers.
//!
//! Text, the operation first: Lua writes it without a library. A message may be lost with its
//! connection; heartbeats find the same facts in Redis.

use std::fmt;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// The callers of these leased requests have cancelled them.
    Cancel(Vec<String>),
    /// A request becomes due at this Redis time, ms.
    Due(u64),
    /// A leased request has a later deadline: its id, and the Redis time in ms (0: none).
    Extend(String, u64),
    /// There may be requests that an idle worker cannot see.
    Work,
    /// The queue is paused.
    Pause,
    /// The queue is resumed.
    Resume,
}

impl Control {
    /// Reads a message. Returns `None` for one of a later version.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
        Some(match words.next()? {
            "cancel" => Self::Cancel(words.map(str::to_owned).collect()),
            "due" => Self::Due(words.next()?.parse().ok()?),
            "extend" => Self::Extend(words.next()?.to_owned(), words.next()?.parse().ok()?),
            "work" => Self::Work,
            "pause" => Self::Pause,
            "resume" => Self::Resume,
            _ => return None,
        })
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancel(ids) => write!(f, "cancel {}", ids.join(" ")),
            Self::Due(at_ms) => write!(f, "due {at_ms}"),
            Self::Extend(id, at_ms) => write!(f, "extend {id} {at_ms}"),
            Self::Work => f.write_str("work"),
            Self::Pause => f.write_str("pause"),
            Self::Resume => f.write_str("resume"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_message_is_read_and_unknown_message_is_not() {
        let all = [
            Control::Cancel(vec!["a".into(), "b".into()]),
            Control::Due(1_763_683_200_000),
            Control::Extend("a".into(), 0),
            Control::Work,
            Control::Pause,
            Control::Resume,
        ];
        for control in all {
            assert_eq!(Control::parse(control.to_string().as_bytes()), Some(control));
        }
        for other in ["", "explode", "due soon", "extend a"] {
            assert_eq!(Control::parse(other.as_bytes()), None, "{other}");
        }
    }
}
