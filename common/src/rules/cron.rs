//! The ticks of a recurring schedule: a cron expression in a time zone, as epoch milliseconds.
//!
//! The time zones are built in: two workers of one release always agree about a tick. Used by the
//! settings, which validate, and by the worker's schedules.
//!
//! Where clocks change, the hours decide:
//!
//! - An expression whose hours are restricted (a value, list, range or step: `30 2`, `0,30 2,14`,
//!   `0 1-3`, `0 */2`) names the local times of a day, and each ticks once. A local time that
//!   clocks skip ticks at the end of the gap, together with all others of that gap: one tick. A
//!   local time that comes twice ticks the first time.
//! - An expression that allows every hour (`*/5 *`, `0 *`, `0 0-23`) follows elapsed time: it ticks
//!   whenever the local clock shows one of its times, the second time as well, and a local time
//!   that clocks skip has no tick.
//!
//! A gap has any length: Antarctica/Casey skipped three hours, Pacific/Apia a whole day.

use std::collections::VecDeque;
use std::error::Error;

use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Formats an instant (Unix ms) in UTC to the second, such as `2026-11-30T02:30:00Z`; `None` beyond
/// the calendar.
#[must_use]
pub fn shown(at_ms: u64) -> Option<String> {
    let at = Timestamp::from_second(i64::try_from(at_ms / 1000).ok()?).ok()?;
    Some(at.to_string())
}

/// A cron expression in its time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    pattern: croner::Cron,
    zone: TimeZone,
    /// `true` if all hours are allowed: it follows elapsed time.
    every_hour: bool,
}

/// The reason why a [`Cron`] is invalid.
#[derive(Debug, thiserror::Error)]
pub enum CronError {
    /// The expression is malformed.
    #[error("the cron expression cannot be read")]
    Expression(#[source] Box<dyn Error + Send + Sync>),
    /// The expression is well formed, but no day matches it (30 February).
    #[error("the cron expression never matches")]
    Never,
    /// The time zone is unknown.
    #[error("unknown time zone")]
    TimeZone,
}

impl Cron {
    /// Parses `expression`: five fields (minute, hour, day of the month, month, day of the week),
    /// or six with seconds in front. `timezone`: a name of the IANA database, in any case.
    ///
    /// # Errors
    ///
    /// [`CronError`] names the invalid one of the two.
    pub fn new(expression: &str, timezone: &str) -> Result<Self, CronError> {
        let zone = TimeZoneDatabase::bundled().get(timezone).map_err(|_| CronError::TimeZone)?;
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed);
        let pattern = parser
            .build()
            .parse(expression)
            .map_err(|cause| CronError::Expression(Box::new(cause)))?;
        let every_hour = (0..24).all(|hour| pattern.pattern.hour_match(hour).unwrap_or(false));
        let cron = Self { pattern, zone, every_hour };
        // Without years, an expression that ever matches does so within any 28 years.
        cron.next_after(0).map(|_| cron).ok_or(CronError::Never)
    }

    /// Returns the first tick after `after_ms`; `None` at the end of the calendar, in the year
    /// 5000.
    #[must_use]
    pub fn next_after(&self, after_ms: u64) -> Option<u64> {
        // Ticks are whole seconds: search after the current second.
        let seconds = i64::try_from(after_ms / 1000).ok()?;
        let after = Timestamp::from_second(seconds).ok()?;
        let tick = if self.every_hour { self.next_shown(after) } else { self.next_local(after) };
        u64::try_from(tick?.as_millisecond()).ok()
    }

    /// Returns `true` if the local clock never shows `tick_ms`, a tick of this expression: the
    /// local time was skipped, and this is the end of the gap.
    #[must_use]
    pub fn is_moved(&self, tick_ms: u64) -> bool {
        let time = i64::try_from(tick_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let local = time.map(|time| self.zone.to_datetime(time));
        local.is_some_and(|local| self.next_on_wall(local, true) != Some(local))
    }

    /// Returns the first time after `after` at which the local clock shows a time of the
    /// expression.
    fn next_shown(&self, after: Timestamp) -> Option<Timestamp> {
        let (mut from, mut inclusive) = (after, false);
        loop {
            // Until the zone's next change, its clock runs evenly.
            let local = self.next_on_wall(self.zone.to_datetime(from), inclusive)?;
            let found = self.zone.to_offset(from).to_timestamp(local).ok()?;
            let change = self.zone.following(from).next().map(|change| change.timestamp());
            match change.filter(|change| found >= *change) {
                None => return Some(found),
                Some(change) => (from, inclusive) = (change, true),
            }
        }
    }

    /// Returns the first tick of the local times after `after`, each local time once.
    fn next_local(&self, after: Timestamp) -> Option<Timestamp> {
        // Local times and their ticks have the same order: earlier local times have ticked.
        let mut local = self.zone.to_datetime(after);
        loop {
            local = self.next_on_wall(local, false)?;
            let tick = self.tick_of(local)?;
            if tick > after {
                return Some(tick);
            }
            // The clock shows this time again, and continues to until the overlap's end.
            local = self.end_of_overlap(local).map_or(local, |end| end.max(local));
        }
    }

    /// Returns when a local time ticks: at its first occurrence, or at the end of its gap.
    fn tick_of(&self, local: DateTime) -> Option<Timestamp> {
        let time = self.zone.to_ambiguous_timestamp(local);
        match time.offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                // By the offset before the change, this is before the change.
                let before = after.to_timestamp(local).ok()?;
                self.zone.following(before).next().map(|change| change.timestamp())
            }
        }
    }

    /// Returns the last local time of the overlap that contains `local`.
    fn end_of_overlap(&self, local: DateTime) -> Option<DateTime> {
        let time = self.zone.to_ambiguous_timestamp(local);
        let AmbiguousOffset::Fold { before, .. } = time.offset() else { return None };
        let first = before.to_timestamp(local).ok()?;
        let change = self.zone.following(first).next()?.timestamp();
        Some(before.to_datetime(change - SECOND))
    }

    /// Returns the first time of the expression on a clock without changes, from `local` on or
    /// after it.
    fn next_on_wall(&self, local: DateTime, inclusive: bool) -> Option<DateTime> {
        let from = Offset::UTC.to_timestamp(local).ok()?.to_zoned(TimeZone::UTC);
        Some(self.pattern.find_next_occurrence(&from, inclusive).ok()?.datetime())
    }

    /// Returns the ticks after `after_ms` up to and including `until_ms`, in order; the latest
    /// `max` of them. Takes time proportional to `max`, however long the span.
    #[must_use]
    pub fn latest(&self, after_ms: u64, until_ms: u64, max: usize) -> Vec<u64> {
        let mut span_ms = 1000;
        loop {
            // Doubles the span until it has enough ticks: the surplus is small.
            let from = until_ms.saturating_sub(span_ms).max(after_ms);
            let mut ticks = VecDeque::new();
            let mut count = 0;
            let mut last = from;
            while let Some(tick) = self.next_after(last).filter(|tick| *tick <= until_ms) {
                last = tick;
                count += 1;
                ticks.push_back(tick);
                if ticks.len() > max {
                    ticks.pop_front();
                }
            }
            if count >= max || from <= after_ms {
                return ticks.into();
            }
            span_ms *= 2;
        }
    }
}

/// Returns `true` if there is a time zone of this name, in any case.
#[must_use]
pub fn is_timezone(name: &str) -> bool {
    TimeZoneDatabase::bundled().get(name).is_ok()
}

/// Returns the names of all time zones.
#[must_use]
pub fn timezones() -> Vec<String> {
    TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect()
}

#[cfg(test)]
mod tests;
