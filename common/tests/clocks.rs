//! Property: around changes of any time zone's clocks, every expression ticks like a reference that
//! walks the minutes one by one and shares no code with the search.
//!
//! A run compares random transitions of 2020 to 2030 with random expressions, and prints its seed.
//! `REDCALL_CLOCKS_SEED` runs that seed again; `REDCALL_CLOCKS_ALL=1` compares every transition of
//! every zone (`cargo xtask long clocks`).
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

#[path = "clocks/reference.rs"]
mod reference;

use std::collections::BTreeSet;

use fastrand::Rng;
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use redcall_common::cron::{Cron, timezones};
use reference::{Expression, Minutes};

const SEED: &str = "REDCALL_CLOCKS_SEED";
const ALL: &str = "REDCALL_CLOCKS_ALL";

/// The expressions of a run without [`ALL`], each at another transition.
const CASES: usize = 120;
/// The random expressions per transition of a run with [`ALL`].
const PER_TRANSITION: usize = 4;
/// The number of start times per case.
const STARTS: usize = 8;

fn zone(name: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(name).unwrap()
}

fn minute(time: &str) -> i64 {
    time.parse::<Timestamp>().unwrap().as_second() / 60
}

/// The minutes since 1970 at which the offset of the zone changes.
fn transitions(zone: &TimeZone, from: &str, until: &str) -> Vec<i64> {
    let until: Timestamp = until.parse().unwrap();
    let changes = zone.following(from.parse().unwrap()).map(|change| change.timestamp());
    let changes = changes.take_while(|change| *change < until);
    let second = jiff::SignedDuration::from_secs(1);
    let moves = |change: &Timestamp| zone.to_offset(*change) != zone.to_offset(*change - second);
    changes.filter(moves).map(|change| change.as_second() / 60).collect()
}

fn decade(zone: &TimeZone) -> Vec<i64> {
    transitions(zone, "2020-01-01T00:00:00Z", "2031-01-01T00:00:00Z")
}

/// Compares the ticks of a day on each side of the transition, and the next tick from `STARTS`
/// random times.
fn compare(name: &str, walked: &Minutes, expression: &Expression, rng: &mut Rng, seed: u64) {
    let cron = Cron::new(&expression.text, name).unwrap();
    let next = |after_ms: i64| -> i64 {
        let tick = cron.next_after(after_ms.try_into().unwrap()).unwrap();
        assert_eq!(tick % 60_000, 0);
        i64::try_from(tick).unwrap() / 60_000
    };
    let expected = walked.ticks(expression);
    let (from, until) = walked.compared();
    let (mut ticks, mut last) = (Vec::new(), from);
    loop {
        last = next(last * 60_000);
        if last > until {
            break;
        }
        ticks.push(last);
    }
    let due = expected.range(from + 1..=until).copied().collect();
    let ticks: BTreeSet<i64> = ticks.into_iter().collect();
    let shown = |ticks: &BTreeSet<i64>, others: &BTreeSet<i64>| -> Vec<String> {
        let time = |tick: &i64| Timestamp::from_second(tick * 60).unwrap().to_string();
        ticks.difference(others).map(time).collect()
    };
    let (missing, extra) = (shown(&due, &ticks), shown(&ticks, &due));
    let at = format!("{SEED}={seed}: `{}` in {name}", expression.text);
    assert!(ticks == due, "{at}: missing {missing:?}, extra {extra:?}");
    for _ in 0..STARTS {
        let start_ms = rng.i64(from * 60_000..until * 60_000);
        if let Some(first) = expected.iter().find(|tick| *tick * 60_000 > start_ms) {
            let found = next(start_ms);
            assert_eq!(found, *first, "{at}, after {start_ms} ms");
        }
    }
}

#[test]
fn change_of_clocks_gives_the_ticks_of_the_reference() {
    let seed = std::env::var(SEED).ok().map(|seed| seed.parse().unwrap());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("{SEED}={seed}");
    let mut rng = Rng::with_seed(seed);
    let names = timezones();
    if std::env::var_os(ALL).is_some() {
        let (mut changes, mut cases) = (0, 0);
        for name in &names {
            for change in decade(&zone(name)) {
                let walked = Minutes::around(&zone(name), change);
                let made = (0..PER_TRANSITION).map(|_| Expression::random(&mut rng));
                for expression in Expression::usual().into_iter().chain(made.collect::<Vec<_>>()) {
                    compare(name, &walked, &expression, &mut rng, seed);
                    cases += 1;
                }
                changes += 1;
            }
        }
        println!("{} zones, {changes} transitions, {cases} comparisons", names.len());
        return;
    }
    let changing = names.iter().filter(|name| !decade(&zone(name)).is_empty());
    let changing: Vec<&String> = changing.collect();
    for _ in 0..CASES {
        let name = changing[rng.usize(..changing.len())];
        let changes = decade(&zone(name));
        let walked = Minutes::around(&zone(name), changes[rng.usize(..changes.len())]);
        compare(name, &walked, &Expression::random(&mut rng), &mut rng, seed);
    }
}

/// The unusual transitions.
#[test]
fn rare_change_of_clocks_gives_the_ticks_of_the_reference() {
    let changes = [
        ("Pacific/Apia", "2011-12-30T10:00:00Z", "has no 30 December"),
        ("Pacific/Kwajalein", "1993-08-21T12:00:00Z", "has no 21 August"),
        ("Antarctica/Casey", "2020-10-03T16:01:00Z", "three hours forward"),
        ("Antarctica/Casey", "2021-03-13T13:00:00Z", "three hours back"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z", "half an hour back"),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00Z", "half an hour forward"),
        ("America/Nuuk", "2026-03-29T01:00:00Z", "forward into the next day"),
        ("America/Nuuk", "2026-10-25T01:00:00Z", "back into the day before"),
        ("Africa/Cairo", "2026-04-23T22:00:00Z", "no midnight"),
        ("Africa/Cairo", "2026-10-29T21:00:00Z", "midnight twice"),
        ("Asia/Pyongyang", "2018-05-04T15:00:00Z", "forward for good"),
    ];
    let mut rng = Rng::with_seed(7);
    for (name, time, about) in changes {
        let change = minute(time);
        let zone = zone(name);
        assert_eq!(
            transitions(&zone, "1990-01-01T00:00:00Z", "2031-01-01T00:00:00Z")
                .into_iter()
                .filter(|at| *at == change)
                .count(),
            1,
            "{name} {about}"
        );
        let walked = Minutes::around(&zone, change);
        let made = (0..8).map(|_| Expression::random(&mut rng)).collect::<Vec<_>>();
        for expression in Expression::usual().into_iter().chain(made) {
            compare(name, &walked, &expression, &mut rng, 7);
        }
    }
}
