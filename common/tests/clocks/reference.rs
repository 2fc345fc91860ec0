//! The reference: it examines every minute of some days, and does not search.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Minutes of a day.
const DAY: i64 = 24 * 60;
/// The days to walk on each side of a transition; gaps have at most a day.
const WALKED: i64 = 3 * DAY;
const COMPARED: i64 = DAY + DAY / 2;

/// A cron expression, with the values that its fields allow.
pub(super) struct Expression {
    pub(super) text: String,
    minutes: BTreeSet<i64>,
    hours: BTreeSet<i64>,
    /// Days of the month, if restricted.
    days: Option<BTreeSet<i64>>,
    /// Days of the week from Sunday, if restricted.
    weekdays: Option<BTreeSet<i64>>,
}

impl Expression {
    /// Returns an expression of each kind.
    pub(super) fn usual() -> Vec<Self> {
        let all = |limit| -> BTreeSet<i64> { (0..limit).collect() };
        let of = |text: &str, minutes: &[i64], hours: BTreeSet<i64>| Self {
            text: format!("{text} * * *"),
            minutes: minutes.iter().copied().collect(),
            hours,
            days: None,
            weekdays: None,
        };
        vec![
            of("10 2,14", &[10], [2, 14].into()),
            of("0,30 2", &[0, 30], [2].into()),
            of("0 1-3", &[0], [1, 2, 3].into()),
            of("30 2", &[30], [2].into()),
            of("15 */2", &[15], all(24).into_iter().step_by(2).collect()),
            of("*/20 0-4/2", &[0, 20, 40], [0, 2, 4].into()),
            of("45 0,23", &[45], [0, 23].into()),
            of("0 *", &[0], all(24)),
            of("*/15 *", &[0, 15, 30, 45], all(24)),
        ]
    }

    pub(super) fn random(rng: &mut Rng) -> Self {
        let (minute, minutes) = field(rng, 0, 59);
        let (hour, hours) = field(rng, 0, 23);
        // With both kinds of days, either matches; that does not affect clocks.
        let ((day, days), (weekday, weekdays)) = match rng.u8(..4) {
            0 => (some(field(rng, 1, 31), 31), ("*".to_owned(), None)),
            1 => (("*".to_owned(), None), some(field(rng, 0, 6), 7)),
            _ => (("*".to_owned(), None), ("*".to_owned(), None)),
        };
        let text = format!("{minute} {hour} {day} * {weekday}");
        Self { text, minutes, hours, days, weekdays }
    }

    /// Returns `true` if the expression matches the local minute (minutes since 1970 on the local
    /// clock).
    fn has(&self, local: i64) -> bool {
        let (day, minute) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let allowed = |days: &Option<BTreeSet<i64>>, day| {
            days.as_ref().is_none_or(|days| days.contains(&day))
        };
        self.minutes.contains(&(minute % 60))
            && self.hours.contains(&(minute / 60))
            // 1 January 1970 was a Thursday.
            && allowed(&self.weekdays, (day + 4).rem_euclid(7))
            && (self.days.is_none() || allowed(&self.days, day_of_month(day)))
    }
}

type Field = (String, BTreeSet<i64>);

fn some((text, values): Field, all: usize) -> (String, Option<BTreeSet<i64>>) {
    let few = (values.len() < all).then_some(values);
    // A field that allows all values, but is not `*`, would count as restricted.
    (if few.is_some() { text } else { "*".to_owned() }, few)
}

fn day_of_month(day: i64) -> i64 {
    (Date::constant(1970, 1, 1) + day.days()).day().into()
}

/// Returns a random field in one of the valid forms.
fn field(rng: &mut Rng, least: i64, max: i64) -> Field {
    let value = |rng: &mut Rng| match rng.bool() {
        true => rng.i64(least..=max),
        // Clocks change at night.
        false => rng.i64(least..=max.min(least + 4)),
    };
    let (low, high) = {
        let (a, b) = (value(rng), value(rng));
        (a.min(b), a.max(b))
    };
    let step = rng.i64(2..=((max - least) / 2).max(2));
    let stepped = |from: i64, to: i64| (from..=to).step_by(step.unsigned_abs() as usize).collect();
    match rng.u8(..8) {
        0 => ("*".to_owned(), (least..=max).collect()),
        1 => (format!("*/{step}"), stepped(least, max)),
        2 => (format!("{low}-{high}"), (low..=high).collect()),
        3 => (format!("{low}-{high}/{step}"), stepped(low, high)),
        4 => (format!("{low},{high}"), [low, high].into()),
        5 => {
            let mut values: BTreeSet<i64> = stepped(least, max);
            values.insert(low);
            (format!("*/{step},{low}"), values)
        }
        _ => (low.to_string(), [low].into()),
    }
}

/// The minutes around a transition, each with its local time.
pub(super) struct Minutes {
    change: i64,
    /// Minutes since 1970, UTC and local.
    walked: Vec<(i64, i64)>,
}

impl Minutes {
    pub(super) fn around(zone: &TimeZone, change: i64) -> Self {
        let local = |minute: i64| {
            let offset = zone.to_offset(Timestamp::from_second(minute * 60).unwrap()).seconds();
            assert_eq!(offset % 60, 0, "clocks differ by whole minutes");
            (minute, minute + i64::from(offset / 60))
        };
        Self { change, walked: (change - WALKED..=change + WALKED).map(local).collect() }
    }

    /// The range in which [`Self::ticks`] is complete: exclusive start, inclusive end.
    pub(super) fn compared(&self) -> (i64, i64) {
        (self.change - COMPARED, self.change + COMPARED)
    }

    /// Returns the ticks. If all hours are allowed, every minute with a matching local time.
    /// Otherwise each matching local time once: at its first minute, or if it is skipped, at the
    /// first minute after it.
    pub(super) fn ticks(&self, expression: &Expression) -> BTreeSet<i64> {
        if expression.hours.len() == 24 {
            let ticks = self.walked.iter().filter(|(_, local)| expression.has(*local));
            return ticks.map(|(minute, _)| *minute).collect();
        }
        let mut first = BTreeMap::new();
        for (minute, local) in &self.walked {
            first.entry(*local).or_insert(*minute);
        }
        let (from, until) = (self.walked[0].1, self.walked[self.walked.len() - 1].1);
        let times = (from..=until).filter(|local| expression.has(*local));
        let tick = |local: i64| *first.range(local..).next().unwrap().1;
        times.map(tick).collect()
    }
}
