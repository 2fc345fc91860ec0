//! `[jobs.X] limit`: limits of one job across all workers.

use std::time::Duration;

use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;
use crate::settings::value::duration::{DAY, HOUR};
use crate::settings::value::forms::number;

const UNITS: [(&str, Duration); 4] =
    [("s", Duration::from_secs(1)), ("m", Duration::from_secs(60)), ("h", HOUR), ("d", DAY)];

const MAX_PER_UNIT: u32 = 1_000_000;

/// `[jobs.X] limit`: limits of one job across all workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The field of `data` by whose value the limits count, each value separately and in turn.
    /// Default none: one limit for all of the job's requests.
    pub key: Option<String>,
    /// The number of its jobs that run at the same time over all workers, 1 to 65,536. Default
    /// none.
    pub concurrency: Option<u32>,
    /// The rate at which jobs start, 1 to 1,000,000 per unit; the units are `s`, `m`, `h` and `d`.
    /// Default none.
    pub rate: Option<Rate>,
}

/// `rate = "10/s"`: the maximum number in each such period, in a burst if necessary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The number per period, 1 to 1,000,000.
    pub count: u32,
    /// The period: `s`, `m`, `h` or `d`.
    pub per: Duration,
}

/// Reads the job's `limit`, if it has one.
pub(crate) fn read(job: &mut Section<'_>) -> Option<Limit> {
    let mut section = job.table("limit", "limit = { concurrency = 4 }")?;
    let is_bound = section.origin("concurrency").is_some() || section.origin("rate").is_some();
    let limit = Limit {
        key: section.read("key", |entry| {
            entry.text("write the name of a field of the data").map(str::to_owned)
        }),
        concurrency: section.read("concurrency", |entry| number(entry, 1..=65_536)),
        rate: section.read("rate", rate),
    };
    if !is_bound && !section.has_unread() {
        let help = "add concurrency = 4, rate = \"10/s\", or both";
        section.wrong("has neither concurrency nor rate", help);
    }
    section.finish();
    Some(limit)
}

fn rate(entry: &Entry) -> Result<Rate, SettingsError> {
    let help = "write a number per unit, such as \"10/s\" (units: s, m, h, d)";
    let text = entry.text(help)?;
    let parsed = text.split_once('/').and_then(|(count, unit)| {
        let (_, per) = UNITS.into_iter().find(|(name, _)| *name == unit.trim())?;
        Some((count.trim().parse::<u64>().ok()?, per))
    });
    let (count, per) = parsed.ok_or_else(|| entry.not_a("a rate", help))?;
    match u32::try_from(count) {
        Ok(count) if (1..=MAX_PER_UNIT).contains(&count) => Ok(Rate { count, per }),
        _ => {
            let range = format!("from 1 to {MAX_PER_UNIT} per unit");
            Err(entry.wrong(format!("must be {range}, but is {}", entry.shown()), help))
        }
    }
}
