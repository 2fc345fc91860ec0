//! Single facts; `common/tests/clocks.rs` compares all zones with a reference.

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

/// The local times of `day` in Berlin at which `expression` ticks.
fn day_in_berlin(expression: &str, day: &str) -> Vec<String> {
    let cron = Cron::new(expression, "Europe/Berlin").unwrap();
    let day: jiff::civil::Date = day.parse().unwrap();
    let midnight = |day: jiff::civil::Date| -> u64 {
        let start = day.to_zoned(cron.zone.clone()).unwrap();
        start.timestamp().as_millisecond().try_into().unwrap()
    };
    let shown = |tick: u64| {
        let time = Timestamp::from_millisecond(tick.try_into().unwrap()).unwrap();
        time.to_zoned(cron.zone.clone()).strftime("%H:%M%:::z").to_string()
    };
    let ticks = cron.latest(midnight(day) - 1, midnight(day.tomorrow().unwrap()) - 1, 1000);
    ticks.into_iter().map(shown).collect()
}

#[test]
fn restricted_hours_in_the_gap_of_spring_tick_once_at_its_end() {
    let ticks = |expression| day_in_berlin(expression, "2026-03-29");
    assert_eq!(ticks("10 2,14 * * *"), ["03:00+02", "14:10+02"]);
    assert_eq!(ticks("0,30 2 * * *"), ["03:00+02"]);
    assert_eq!(ticks("0 1-3 * * *"), ["01:00+01", "03:00+02"]);
    assert_eq!(ticks("30 */12 * * *"), ["00:30+01", "12:30+02"]);
    assert_eq!(ticks("30 2-4/2 * * *"), ["03:00+02", "04:30+02"]);
    assert_eq!(ticks("*/20 2 * * *"), ["03:00+02"]);
    assert_eq!(ticks("*/30 * 2 * * *"), ["03:00+02"]);
}

#[test]
fn restricted_hours_in_the_overlap_of_autumn_tick_the_first_time() {
    let ticks = |expression| day_in_berlin(expression, "2026-10-25");
    assert_eq!(ticks("10 2,14 * * *"), ["02:10+02", "14:10+01"]);
    assert_eq!(ticks("0,30 2 * * *"), ["02:00+02", "02:30+02"]);
    assert_eq!(ticks("0 1-3 * * *"), ["01:00+02", "02:00+02", "03:00+01"]);
    assert_eq!(ticks("30 2-4/2 * * *"), ["02:30+02", "04:30+01"]);
    assert_eq!(ticks("*/20 2 * * *"), ["02:00+02", "02:20+02", "02:40+02"]);
    assert_eq!(day_in_berlin("0 */2 * * *", "2026-10-25").len(), 12);
}

#[test]
fn every_hour_however_written_follows_elapsed_time() {
    for hours in ["*", "*/1", "0-23", "0-11,12-23"] {
        for (day, hours_of_day) in [("2026-03-29", 23), ("2026-10-25", 25)] {
            let ticks = |minutes| day_in_berlin(&format!("{minutes} {hours} * * *"), day);
            assert_eq!(ticks("0").len(), hours_of_day, "{hours} on {day}");
            assert_eq!(ticks("*/15").len(), 4 * hours_of_day, "{hours} on {day}");
            assert_eq!(ticks("5,10").len(), 2 * hours_of_day, "{hours} on {day}");
        }
    }
}

#[test]
fn skipped_day_does_not_end_a_schedule() {
    // Apia went from 29 to 31 December 2011 at midnight, 10:00 UTC.
    let apia = |expression, count| {
        let cron = Cron::new(expression, "Pacific/Apia").unwrap();
        let mut last = ms("2011-12-29T12:00:00Z");
        let mut tick = || {
            last = cron.next_after(last).unwrap();
            let time = Timestamp::from_millisecond(last.try_into().unwrap()).unwrap();
            (time.to_string(), cron.is_moved(last))
        };
        (0..count).map(|_| tick()).collect::<Vec<_>>()
    };
    let tick = |time: &str, is_moved| (time.to_owned(), is_moved);
    let daily = [
        tick("2011-12-29T22:00:00Z", false),
        tick("2011-12-30T10:00:00Z", true),
        tick("2011-12-30T22:00:00Z", false),
    ];
    assert_eq!(apia("0 12 * * *", 3), daily);
    let yearly = [tick("2011-12-30T10:00:00Z", true), tick("2012-12-29T22:00:00Z", false)];
    assert_eq!(apia("0 12 30 12 *", 2), yearly);
    let hourly = [tick("2012-12-29T10:15:00Z", false), tick("2012-12-29T11:15:00Z", false)];
    assert_eq!(apia("15 * 30 12 *", 2), hourly);
}

#[test]
fn end_of_the_calendar_has_no_next_tick() {
    let cron = Cron::new("0 0 1 1 *", "UTC").unwrap();
    assert_eq!(cron.next_after(ms("5000-01-02T00:00:00Z")), None);
    assert_eq!(cron.next_after(u64::MAX), None);
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
fn any_start_between_two_ticks_has_the_same_next_one() {
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
    let max = cron.latest(0, now, 1000);
    assert!(max.len() == 1000 && max[0] == now - 999_000 && max[999] == now);
    let rare = Cron::new("0 0 29 2 *", "UTC").unwrap();
    assert_eq!(rare.latest(0, now, 2), [ms("2020-02-29T00:00:00Z"), ms("2024-02-29T00:00:00Z")]);
}

#[test]
fn mistakes_have_distinct_errors() {
    let wrong = |expression, timezone| Cron::new(expression, timezone).unwrap_err();
    for malformed in ["", "* * * *", "* * * * * * *", "61 * * * *", "every day"] {
        assert!(matches!(wrong(malformed, "UTC"), CronError::Expression(_)), "{malformed}");
    }
    assert!(matches!(wrong("0 0 30 2 *", "UTC"), CronError::Never));
    assert!(matches!(wrong("* * * * *", "Europe/Bonn"), CronError::TimeZone));
    assert!(timezones().iter().any(|name| name == "Europe/Berlin"));
}
