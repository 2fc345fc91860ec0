//! `[jobs.X] retries` and `limit`: the tables within a job's.

use std::collections::HashSet;
use std::time::Duration;

use humantime::format_duration;

use super::duration::SHORTEST;
use super::entry::Entry;
use super::error::SettingsError;
use super::forms::number;
use super::parts::{Backoff, Limit, Rate, Retries};
use super::section::Section;
use crate::error::Code;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const BACKOFFS: [(&str, Backoff); 2] =
    [("exponential", Backoff::Exponential), ("constant", Backoff::Constant)];

const UNITS: [(&str, Duration); 4] = [
    ("s", Duration::from_secs(1)),
    ("m", Duration::from_secs(60)),
    ("h", Duration::from_secs(60 * 60)),
    ("d", DAY),
];

const MAX_PER_UNIT: u32 = 1_000_000;

/// Reads the job's `retries`, if it has them.
pub(super) fn retries(job: &mut Section<'_>) -> Option<Retries> {
    let mut section = job.table("retries", "retries = { max = 3 }")?;
    let default = Retries::default();
    let is_named = section.origin("max").is_some();
    let retries = Retries {
        max: section.read("max", |entry| number(entry, 0..=1000)).unwrap_or(default.max),
        backoff: section
            .read("backoff", |entry| entry.choice(&BACKOFFS))
            .unwrap_or(default.backoff),
        base: section.read("base", |entry| entry.duration(SHORTEST..=DAY)).unwrap_or(default.base),
        cap: section
            .read("cap", |entry| entry.duration(SHORTEST..=DAY * 30))
            .unwrap_or(default.cap),
        on: section.read("on", codes).unwrap_or(default.on),
    };
    if retries.base > retries.cap {
        let (base, cap) = (format_duration(retries.base), format_duration(retries.cap));
        let problem = format!("has a base ({base}) that is longer than its cap ({cap})");
        section.wrong(problem, "shorten base, or lengthen cap");
    }
    // Without `max` the other keys have no effect. An unknown key most likely misspells it.
    if !is_named && !section.has_unread() {
        section.wrong("has no max", "add the number of further attempts, such as max = 3");
    }
    section.finish();
    Some(retries)
}

fn codes(entry: &Entry) -> Result<Vec<Code>, SettingsError> {
    let mut seen = HashSet::new();
    let options = Retries::CODES.map(|code| (code.as_str(), code));
    let items = entry.list("[\"handler_failed\", \"timeout\"]")?;
    let code = |item: &Entry| {
        let code = item.choice(&options)?;
        if seen.insert(code) {
            return Ok(code);
        }
        Err(item.wrong(format!("repeats the code `{code}`"), "name each code once"))
    };
    items.iter().map(code).collect()
}

/// Reads the job's `limit`, if it has one.
pub(super) fn limit(job: &mut Section<'_>) -> Option<Limit> {
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
