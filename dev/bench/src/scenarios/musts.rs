//! The targets of the project, and the figures that a run has found for them.

/// A figure with a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    OneCallerOneCpu,
    OneCallerTwoCpus,
    Callers64,
    Callers64Nats,
    Callers1000,
    Callers1000Tail,
    Callers5000,
    Callers5000Tail,
    EnqueueBatches,
    EnqueueTasks,
    Drain,
    DrainAnswers,
    IdleOneCpu,
    IdleTwoCpus,
    LargeRequest,
    LargeAnswer,
    FarWorkers,
    Commands,
}

/// The figures of a run.
#[derive(Debug, Default)]
pub(super) struct Found(Vec<(Figure, f64)>);

/// The target of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A figure, its value before workers had lanes, and its target.
struct Must {
    figure: Figure,
    measure: &'static str,
    unit: &'static str,
    before: &'static str,
    bound: Bound,
    /// The arguments of `cargo xtask bench` that measure it.
    command: &'static str,
}

use Bound::{AtLeast, AtMost};
use Figure as F;

const OTHER: &str = "other build";
const S3: &str = "s3 --against FOLDER";
const S4: &str = "s4 --against FOLDER";

/// The targets: figure, measure, unit, value before, target, command.
const MUSTS: [Must; 18] = [
    must((F::OneCallerOneCpu, "S1 p50, all on one CPU"), "F1", "4.4", AtMost(1.6), "s1"),
    must(
        (F::OneCallerTwoCpus, "S1 p50, Redis on its own CPU"),
        "F1",
        "2.1 to 2.7",
        AtMost(1.45),
        "s1",
    ),
    must((F::Callers64, "S2 calls/s, 64 callers"), "F2", "0.40", AtLeast(0.7), "s2"),
    must((F::Callers64Nats, "S2 calls/s, 64 callers"), "NATS", "0.5", AtLeast(0.7), "nats"),
    must((F::Callers1000, "S2 calls/s, 1,000 callers"), "F2", "0.85", AtLeast(1.0), "s2"),
    must((F::Callers1000Tail, "S2 p99, 1,000 callers"), "p50", "1.6 to 2.3", AtMost(1.6), "s2"),
    must((F::Callers5000, "S2 calls/s, 5,000 callers"), "F2", "0.68 to 1.03", AtLeast(1.0), "s2"),
    must((F::Callers5000Tail, "S2 p99, 5,000 callers"), "p50", "1.2", AtMost(1.5), "s2"),
    must((F::EnqueueBatches, "S3 enqueue, batches of 1,000"), OTHER, "1", AtLeast(3.3), S3),
    must((F::EnqueueTasks, "S3 enqueue, 1,000 tasks"), OTHER, "1", AtLeast(1.0), S3),
    must((F::Drain, "S4 drain without answers"), OTHER, "1", AtLeast(1.35), S4),
    must((F::DrainAnswers, "S4 drain with answers"), OTHER, "1", AtLeast(1.55), S4),
    must((F::IdleOneCpu, "S5 idle pickup p50, all on one CPU"), "F1", "3.9", AtMost(2.5), "s5"),
    must(
        (F::IdleTwoCpus, "S5 idle pickup p50, Redis on its own CPU"),
        "F1",
        "2.6",
        AtMost(1.9),
        "s5",
    ),
    must((F::LargeRequest, "S6 p50, request of 1 MB, one caller"), "F1", "5.5", AtMost(2.0), "s6"),
    must(
        (F::LargeAnswer, "S6 p50, request and answer of 1 MB, one caller"),
        "F1",
        "5.5",
        AtMost(2.0),
        "s6",
    ),
    must(
        (F::FarWorkers, "S9 calls/s, four workers 1 ms away, AOF everysec, 5,000 callers"),
        "S2",
        "0.44",
        AtLeast(0.6),
        "s9",
    ),
    must((F::Commands, "Redis commands per waited call, one caller"), "", "25", AtMost(12.0), "s1"),
];

const fn must(
    (figure, measure): (Figure, &'static str),
    unit: &'static str,
    before: &'static str,
    bound: Bound,
    command: &'static str,
) -> Must {
    Must { figure, measure, unit, before, bound, command }
}

/// The scenarios that measure them.
pub(super) const SCENARIOS: [&str; 8] = ["s1", "s2", "s3", "s4", "s5", "s6", "s9", "nats"];

impl Found {
    pub(super) fn note(&mut self, figure: Figure, value: f64) {
        self.0.push((figure, value));
    }

    pub(super) fn add(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// Returns the table: all targets, or only those with a figure.
    pub(super) fn table(&self, all: bool) -> Option<String> {
        let rows = MUSTS.iter().filter_map(|must| {
            let value = self.0.iter().find(|(figure, _)| *figure == must.figure);
            let value = value.map(|(_, value)| *value);
            (all || value.is_some()).then(|| must.row(value))
        });
        let rows: Vec<String> = rows.collect();
        let head = "| measure | before lanes | must | measured | | `cargo xtask bench …` |\n\
            |---|---|---|---|---|---|";
        (!rows.is_empty()).then(|| format!("{head}\n{}", rows.join("\n")))
    }
}

impl Must {
    fn row(&self, value: Option<f64>) -> String {
        let Self { measure, unit, before, bound, command, .. } = self;
        let (measured, verdict) = match value {
            Some(value) => (format!("{value:.3}"), bound.verdict(value)),
            None => ("-".to_owned(), "not measured"),
        };
        let unit = if unit.is_empty() { String::new() } else { format!(" x {unit}") };
        let must = bound.text();
        format!(
            "| {measure} | {before}{unit} | {must}{unit} | {measured} | {verdict} | `{command}` |"
        )
    }
}

impl Bound {
    fn verdict(self, value: f64) -> &'static str {
        let holds = match self {
            AtLeast(min) => value >= min,
            AtMost(max) => value <= max,
        };
        if holds { "reached" } else { "**missed**" }
    }

    fn text(self) -> String {
        match self {
            AtLeast(min) => format!("at least {min}"),
            AtMost(max) => format!("at most {max}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_compares_figures_with_their_targets() {
        let mut found = Found::default();
        assert_eq!(found.table(false), None);
        found.note(Figure::OneCallerOneCpu, 1.604);
        let mut more = Found::default();
        more.note(Figure::Callers64, 0.7);
        found.add(more);
        let some = found.table(false).unwrap();
        assert_eq!(some.lines().count(), 4);
        let row =
            "| S1 p50, all on one CPU | 4.4 x F1 | at most 1.6 x F1 | 1.604 | **missed** | `s1` |";
        assert!(some.contains(row), "{some}");
        assert!(some.contains("| at least 0.7 x F2 | 0.700 | reached | `s2` |"), "{some}");
        let all = found.table(true).unwrap();
        assert_eq!(all.lines().count(), 2 + MUSTS.len());
        assert!(all.contains("| at most 12 | - | not measured | `s1` |"), "{all}");
        // Not a number is not reached.
        assert_eq!(AtMost(1.0).verdict(f64::NAN), "**missed**");
        assert_eq!(AtLeast(1.0).verdict(f64::NAN), "**missed**");
    }

    #[test]
    fn each_target_is_measured_by_one_of_the_scenarios() {
        for Must { command, .. } in &MUSTS {
            let scenario = command.split(' ').next().unwrap();
            assert!(SCENARIOS.contains(&scenario), "{command}");
        }
    }
}
