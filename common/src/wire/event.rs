//! Events: their content on a topic, and their fields in the topic's stream.
//!
//! Topics and kinds are open: any name, any number. The six of older systems have names here, so
//! that a gateway can use their numbers for both.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::rules::name::is_plain;
use crate::rules::time::now_ms;

/// The topic that also gets events of emergency kinds.
pub const EMERGENCY: &str = "emergency";
/// The topic of the workers' heartbeats.
pub const HEARTBEAT: &str = "heartbeat";
/// The topic of the results of commands.
pub const COMMAND_RESULT: &str = "command_result";

/// The names with their numbers, as topic and as kind.
const NAMED: [(&str, u32); 6] = [
    ("any", 0),
    (HEARTBEAT, 1001),
    (EMERGENCY, 2001),
    ("event", 4001),
    ("property_change", 5001),
    (COMMAND_RESULT, 6001),
];

/// The kind of an event: a number; some have names.
///
/// ```
/// use redcall_common::event::Kind;
///
/// assert_eq!(Kind::EVENT.to_string(), "event");
/// assert_eq!("event".parse(), Ok(Kind(4001)));
/// assert_eq!(Kind(101).to_string(), "101");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Kind(pub u32);

impl Kind {
    /// 0: all kinds, where kinds are selected.
    pub const ANY: Self = Self(0);
    /// 1001: a worker is alive.
    pub const HEARTBEAT: Self = Self(1001);
    /// 2001: emergency stop.
    pub const EMERGENCY: Self = Self(2001);
    /// 4001: a general event.
    pub const EVENT: Self = Self(4001);
    /// 5001: a property has changed.
    pub const PROPERTY_CHANGE: Self = Self(5001);
    /// 6001: the result of a command.
    pub const COMMAND_RESULT: Self = Self(6001);

    /// Returns its name, if it has one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        NAMED.iter().find(|(_, number)| *number == self.0).map(|(name, _)| *name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

impl FromStr for Kind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = NAMED.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
        let number = named.or_else(|| text.parse().ok()).map(Self);
        number.ok_or(
            "a kind is a number up to 4294967295, or any, heartbeat, emergency, event, \
                      property_change or command_result",
        )
    }
}

/// Resolves a topic that is given by name, or by one of the numbers that have names: `4001` is
/// `event`. `None` if it is not a valid topic: valid names are those of queues, except `any`.
#[must_use]
pub fn topic(text: &str) -> Option<&str> {
    let number = text.parse::<u32>().ok();
    let named = NAMED.iter().find(|(_, named)| Some(*named) == number);
    let name = named.map_or(text, |(name, _)| *name);
    (is_plain(name) && name != "any").then_some(name)
}

/// The entry id of an event in a topic's stream: its Redis time, ms, and a number within that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventId {
    /// Redis time, ms.
    pub ms: u64,
    /// Its number within that millisecond.
    pub seq: u64,
}

impl EventId {
    /// Returns the last id before `ms`, Redis time.
    #[must_use]
    pub fn before(ms: u64) -> Self {
        ms.checked_sub(1).map_or_else(Self::default, |ms| Self { ms, seq: u64::MAX })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for EventId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once('-').map(|(ms, seq)| (ms.parse(), seq.parse()));
        let Some((Ok(ms), Ok(seq))) = numbers else {
            return Err("an event's id has the form 1763683200000-0");
        };
        Ok(Self { ms, seq })
    }
}

impl Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// An event to publish.
#[derive(Debug, Clone)]
pub struct NewEvent<'a> {
    /// Its kind.
    pub kind: Kind,
    /// When it happened, by the publisher's wall clock: Unix time, ms.
    pub when: u64,
    /// The publisher's monotonic clock, ns: it never steps, and orders the events of one machine.
    pub index: u64,
    /// Its content, JSON.
    pub context: &'a str,
    /// The topic of the original, if this is a copy on another topic.
    pub origin: Option<&'a str>,
}

impl<'a> NewEvent<'a> {
    /// Creates an event that happens now.
    #[must_use]
    pub fn now(kind: Kind, context: &'a str) -> Self {
        Self { kind, when: now_ms(), index: index(), context, origin: None }
    }

    /// Returns its approximate size in a topic, bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        100 + self.context.len() + self.origin.map_or(0, str::len)
    }

    /// Returns its fields and values, in the order in which they are written.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("kind", self.kind.0.to_string()),
            ("when", self.when.to_string()),
            ("index", self.index.to_string()),
            ("context", self.context.to_owned()),
        ];
        fields.extend(self.origin.map(|origin| ("origin", origin.to_owned())));
        fields
    }
}

/// Returns the machine's monotonic clock, ns, increasing with each call: it orders the events of a
/// process, and those of one machine's processes as far as its clock can tell.
fn index() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    let now = part(time.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(time.tv_nsec));
    let after = |last: u64| now.max(last.saturating_add(1));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(after(last)));
    after(last.unwrap_or_default())
}

/// An event as received by a subscriber.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// Its entry in the topic's stream: later ones have greater ids.
    pub id: EventId,
    /// Its kind.
    pub kind: Kind,
    /// When it happened, by the publisher's wall clock: Unix time, ms. The time of its entry, if
    /// the publisher set none.
    pub when: u64,
    /// The publisher's monotonic clock, ns; `None` if the publisher set none.
    pub index: Option<u64>,
    /// Its content, JSON; `null` if the publisher set none.
    pub context: Box<RawValue>,
    /// The topic of the original, if this is the copy of an emergency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl Event {
    /// Reads an entry. `None` if it violates the protocol: without a kind, or with a context that
    /// is not JSON.
    #[must_use]
    pub fn read(id: EventId, mut fields: HashMap<Vec<u8>, Vec<u8>>) -> Option<Self> {
        let mut text = |name: &str| match fields.remove(name.as_bytes()) {
            Some(bytes) => String::from_utf8(bytes).map(Some),
            None => Ok(None),
        };
        let kind = Kind(text("kind").ok()??.parse().ok()?);
        let when = text("when").ok()?.map_or(Ok(id.ms), |when| when.parse()).ok()?;
        let index = text("index").ok()?.map(|index| index.parse()).transpose().ok()?;
        let context = text("context").ok()?.unwrap_or_else(|| "null".to_owned());
        let context = RawValue::from_string(context).ok()?;
        let origin = text("origin").ok()?;
        Some(Self { id, kind, when, index, context, origin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_of_topics_and_kinds_are_the_same() {
        assert_eq!((topic("event"), topic("4001")), (Some("event"), Some("event")));
        assert_eq!((topic("7"), topic("door.7")), (Some("7"), Some("door.7")));
        for wrong in ["any", "0", "", "a:b", "{a}"] {
            assert_eq!(topic(wrong), None, "{wrong}");
        }
        assert_eq!("heartbeat".parse(), Ok(Kind::HEARTBEAT));
        assert_eq!(("101".parse(), Kind(101).to_string()), (Ok(Kind(101)), "101".into()));
        assert!("-1".parse::<Kind>().is_err() && "beat".parse::<Kind>().is_err());
    }

    #[test]
    fn ids_are_ordered_by_time() {
        let id: EventId = "5-10".parse().unwrap();
        assert!(id > EventId { ms: 5, seq: 9 } && id < EventId { ms: 6, seq: 0 });
        assert_eq!((id.to_string(), EventId::before(0)), ("5-10".into(), EventId::default()));
        assert!(EventId::before(5) < EventId { ms: 5, seq: 0 } && EventId::before(5).ms == 4);
        assert!("5".parse::<EventId>().is_err() && "a-1".parse::<EventId>().is_err());
    }

    #[test]
    fn written_event_is_read_and_only_a_kind_is_required() {
        let read = |fields: &[(&str, &str)]| {
            let bytes = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let fields = bytes.map(|(name, value)| (name.to_vec(), value.to_vec()));
            Event::read(EventId { ms: 9, seq: 1 }, fields.collect())
        };
        let event = NewEvent {
            kind: Kind(101),
            when: 5,
            index: 6,
            context: r#"{"a": [1.50]}"#,
            origin: Some("door"),
        };
        let fields = event.fields();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let event = read(&fields).unwrap();
        assert_eq!((event.kind, event.when, event.index), (Kind(101), 5, Some(6)));
        assert_eq!(event.context.get(), r#"{"a": [1.50]}"#);
        assert_eq!(event.origin.as_deref(), Some("door"));
        let event = read(&[("kind", "7"), ("more", "x")]).unwrap();
        assert_eq!((event.when, event.index, event.context.get()), (9, None, "null"));
        for wrong in [("when", "1"), ("kind", "x"), ("kind", "-1")] {
            assert!(read(&[wrong]).is_none(), "{wrong:?}");
        }
        assert!(read(&[("kind", "1"), ("context", "{")]).is_none());
        assert!(read(&[("kind", "1"), ("when", "soon")]).is_none());
    }
}
