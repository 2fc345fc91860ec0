//! When something recurs: a cron expression in a time zone, as epoch milliseconds.
//!
//! The zones are those that are built in, on every machine: two workers of one release never
//! disagree about a tick. Used by the settings, which check, and by the worker's schedules.
//!
//! Where clocks change, an expression of fixed hours ticks once a day: in a gap at its end, in an
//! overlap the first time. One whose hours are `*` or stepped goes by the time that passes.

use std::collections::VecDeque;
use std::error::Error;

use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};

/// A cron expression in its time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    pattern: croner::Cron,
    zone: TimeZone,
}

/// Why there is no such [`Cron`].
#[derive(Debug, thiserror::Error)]
pub enum CronError {
    /// The expression is malformed.
    #[error("the cron expression cannot be read")]
    Expression(#[source] Box<dyn Error + Send + Sync>),
    /// The expression is well formed, but no day is like that (30 February).
    #[error("the cron expression never comes true")]
    Never,
    /// There is no time zone of that name.
    #[error("there is no such time zone")]
    TimeZone,
}

impl Cron {
    /// `expression`: five fields (minute, hour, day of the month, month, day of the week), or six
    /// with seconds in front. `timezone`: a name of the IANA database, in any case.
    ///
    /// # Errors
    ///
    /// [`CronError`] names the one of the two that is wrong.
    pub fn new(expression: &str, timezone: &str) -> Result<Self, CronError> {
        let zone = TimeZoneDatabase::bundled().get(timezone).map_err(|_| CronError::TimeZone)?;
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed);
        let pattern = parser
            .build()
            .parse(expression)
            .map_err(|cause| CronError::Expression(Box::new(cause)))?;
        let cron = Self { pattern, zone };
        // Without years, an expression that comes true at all does so within any 28 years.
        cron.next_after(0).map(|_| cron).ok_or(CronError::Never)
    }

    /// The first tick after `after_ms`; `None` where the calendar ends.
    #[must_use]
    pub fn next_after(&self, after_ms: u64) -> Option<u64> {
        // Ticks lie on whole seconds: the first after the second that has begun is the one.
        let seconds = i64::try_from(after_ms / 1000).ok()?;
        let from = Timestamp::from_second(seconds).ok()?.to_zoned(self.zone.clone());
        let next: Zoned = self.pattern.find_next_occurrence(&from, false).ok()?;
        u64::try_from(next.timestamp().as_millisecond()).ok()
    }

    /// The ticks after `after_ms` up to and including `until_ms`, in order; of more than `most`
    /// the latest. Takes time for some multiple of `most`, however long the span.
    #[must_use]
    pub fn latest(&self, after_ms: u64, until_ms: u64, most: usize) -> Vec<u64> {
        let mut span_ms = 1000;
        loop {
            // Spans twice as long until one holds enough: it then holds few too many.
            let from = until_ms.saturating_sub(span_ms).max(after_ms);
            let mut ticks = VecDeque::new();
            let mut count = 0;
            let mut last = from;
            while let Some(tick) = self.next_after(last).filter(|tick| *tick <= until_ms) {
                last = tick;
                count += 1;
                ticks.push_back(tick);
                if ticks.len() > most {
                    ticks.pop_front();
                }
            }
            if count >= most || from <= after_ms {
                return ticks.into();
            }
            span_ms *= 2;
        }
    }
}

/// Whether there is a time zone of this name, in any case.
#[must_use]
pub fn is_timezone(name: &str) -> bool {
    TimeZoneDatabase::bundled().get(name).is_ok()
}

/// The names of all time zones.
#[must_use]
pub fn timezones() -> Vec<String> {
    TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(time: &str) -> u64 {
        let time: Timestamp = time.parse().unwrap();
        time.as_millisecond().try_into().unwrap()
    }

    /// The ticks of `expression` in Berlin after `from`, as UTC.
    fn berlin(expression: &str, from: &str, count: usize) -> Vec<String> {
        let cron = Cron::new(expression, "Europe/Berlin").unwrap();
        let mut last = ms(from);
        let mut tick = || {
            last = cron.next_after(last).unwrap();
            Timestamp::from_millisecond(last.try_into().unwrap()).unwrap().to_string()
        };
        (0..count).map(|_| tick()).collect()
    }

    #[test]
    fn a_daily_tick_in_the_gap_of_spring_comes_at_its_end() {
        // On 29 March 2026 the clocks went from 02:00 to 03:00, at 01:00 UTC.
        let ticks = berlin("30 2 * * *", "2026-03-28T00:00:00Z", 3);
        assert_eq!(ticks, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    }

    #[test]
    fn a_daily_tick_in_the_overlap_of_autumn_comes_once() {
        // On 25 October 2026 the clocks go from 03:00 back to 02:00, at 01:00 UTC.
        let ticks = berlin("30 2 * * *", "2026-10-24T00:00:00Z", 3);
        assert_eq!(ticks, ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn an_hourly_tick_goes_by_the_time_that_passes() {
        let ticks = berlin("0 * * * *", "2026-03-28T23:30:00Z", 3);
        assert_eq!(ticks, ["2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]);
        let ticks = berlin("0 * * * *", "2026-10-24T23:30:00Z", 3);
        assert_eq!(ticks, ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"]);
    }

    #[test]
    fn seconds_are_a_sixth_field_in_front() {
        let ticks = berlin("*/20 * * * * *", "2026-01-01T00:00:05.700Z", 3);
        assert_eq!(ticks, ["2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z", "2026-01-01T00:01:00Z"]);
        // A tick is not after itself, but after the millisecond before it.
        let cron = Cron::new("* * * * * *", "UTC").unwrap();
        assert_eq!((cron.next_after(5000), cron.next_after(4999)), (Some(6000), Some(5000)));
    }

    #[test]
    fn whoever_starts_between_two_ticks_sees_the_same_next_one() {
        for expression in ["30 2 * * *", "*/7 1-3 * * *", "15 * * * *", "0 30 2 * * SUN"] {
            let cron = Cron::new(expression, "Europe/Berlin").unwrap();
            for day in ["2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z"] {
                let (start, mut ticks) = (ms(day), Vec::new());
                while let Some(tick) = cron.next_after(ticks.last().copied().unwrap_or(start)) {
                    ticks.push(tick);
                    if tick > start + 48 * 3_600_000 {
                        break;
                    }
                }
                for from in (start..start + 36 * 3_600_000).step_by(97_000) {
                    let next = ticks.iter().copied().find(|tick| *tick > from);
                    assert_eq!(cron.next_after(from), next, "{expression} after {from}");
                }
            }
        }
    }

    #[test]
    fn the_latest_ticks_of_a_span_are_bounded() {
        let cron = Cron::new("* * * * * *", "UTC").unwrap();
        let now = ms("2026-01-01T00:00:00Z");
        assert_eq!(cron.latest(now - 3000, now, 1000), [now - 2000, now - 1000, now]);
        assert_eq!(cron.latest(now - 3000, now - 1, 1), [now - 1000]);
        assert_eq!(cron.latest(now, now, 1000), [0; 0]);
        assert_eq!(cron.latest(now + 5000, now, 1000), [0; 0]);
        let most = cron.latest(0, now, 1000);
        assert!(most.len() == 1000 && most[0] == now - 999_000 && most[999] == now);
        let rare = Cron::new("0 0 29 2 *", "UTC").unwrap();
        assert_eq!(
            rare.latest(0, now, 2),
            [ms("2020-02-29T00:00:00Z"), ms("2024-02-29T00:00:00Z")]
        );
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        let wrong = |expression, timezone| Cron::new(expression, timezone).unwrap_err();
        for malformed in ["", "* * * *", "* * * * * * *", "61 * * * *", "every day"] {
            assert!(matches!(wrong(malformed, "UTC"), CronError::Expression(_)), "{malformed}");
        }
        assert!(matches!(wrong("0 0 30 2 *", "UTC"), CronError::Never));
        assert!(matches!(wrong("* * * * *", "Europe/Bonn"), CronError::TimeZone));
        assert!(timezones().iter().any(|name| name == "Europe/Berlin"));
    }
}
