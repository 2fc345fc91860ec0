//! `[dead]`: the retention of dead letters.

use std::time::Duration;

use crate::settings::source::entry::Entry;
use crate::settings::source::section::Section;
use crate::settings::value::duration::{DAY, YEAR};
use crate::settings::value::size::LONGEST_LIST;

/// `[dead]`: the retention of dead letters. The first limit reached removes the oldest ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadSettings {
    /// The number of dead letters per queue, 1 to 4,294,967,295. Default 10,000.
    pub max: u64,
    /// The bytes of Redis's memory per queue, 1 MiB to 1,024 GiB; 0 for no limit. Default 256 MiB.
    /// Above it the oldest are removed until usage is a little below; the newest always stays.
    pub max_bytes: u64,
    /// The maximum age, 1 s to 10 years. Default 30 days.
    pub age: Duration,
}

impl Default for DeadSettings {
    fn default() -> Self {
        Self { max: 10_000, max_bytes: 256 << 20, age: 30 * DAY }
    }
}

/// Reads the `[dead]` table.
pub(crate) fn read(mut section: Section<'_>) -> DeadSettings {
    let default = DeadSettings::default();
    let settings = DeadSettings {
        // Not zero: a request that ends here would then be lost without a trace.
        max: section.read("max", |entry| entry.whole(1..=LONGEST_LIST)).unwrap_or(default.max),
        max_bytes: section.read("max_bytes", Entry::bound).unwrap_or(default.max_bytes),
        age: section
            .read("age", |entry| entry.duration(Duration::from_secs(1)..=YEAR * 10))
            .unwrap_or(default.age),
    };
    section.finish();
    settings
}
