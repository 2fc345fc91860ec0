//! `[events]`: the retention of topics, and automatic events.

use std::time::Duration;

use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;
use crate::settings::value::duration::{DAY, HOUR, YEAR};
use crate::settings::value::forms::number;
use crate::settings::value::size::LONGEST_LIST;

/// `[events]`: the retention of topics, and automatic events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSettings {
    /// The number of events that a topic keeps, 1 to 4,294,967,295, plus or minus a hundred.
    /// Default 10,000.
    pub max: u64,
    /// The bytes of Redis's memory that a topic keeps, 1 MiB to 1,024 GiB; 0 for no limit. Default
    /// 64 MiB. Above it the oldest are removed until usage is a little below.
    pub max_bytes: u64,
    /// How long a topic is kept after its last event, 1 s to 1 year. Default 1 day.
    pub age: Duration,
    /// The kinds that are copied to the topic `emergency` from all topics. Default 101,
    /// 102 and 2001.
    pub emergency: Vec<u32>,
    /// The period of a worker's heartbeat events, 1 s to 1 hour; 5 s is usual. Default none: no
    /// events.
    pub heartbeat: Option<Duration>,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self {
            max: 10_000,
            max_bytes: 64 << 20,
            age: DAY,
            emergency: vec![101, 102, 2001],
            heartbeat: None,
        }
    }
}

/// Reads the `[events]` table.
pub(crate) fn read(mut section: Section<'_>) -> EventSettings {
    let default = EventSettings::default();
    let second = Duration::from_secs(1);
    let settings = EventSettings {
        max: section.read("max", |entry| entry.whole(1..=LONGEST_LIST)).unwrap_or(default.max),
        max_bytes: section.read("max_bytes", Entry::bound).unwrap_or(default.max_bytes),
        age: section.read("age", |entry| entry.duration(second..=YEAR)).unwrap_or(default.age),
        emergency: section.read("emergency", kinds).unwrap_or(default.emergency),
        heartbeat: section.read("heartbeat", |entry| entry.duration(second..=HOUR)),
    };
    section.finish();
    settings
}

fn kinds(entry: &Entry) -> Result<Vec<u32>, SettingsError> {
    let items = entry.list("[101, 102, 2001]")?;
    items.iter().map(|item| number(item, 0..=u32::MAX)).collect()
}
