//! The measurements: each scenario's baseline and Redcall in turns, in one run.
//!
//! | file | holds |
//! |---|---|
//! | `args.rs` | the options of a run |
//! | `compare.rs` | waited calls in turns, their costs, and their table |
//! | `one.rs` | S1, S5 |
//! | `many.rs` | S2 |
//! | `jobs.rs` | S3, S4 |
//! | `payloads.rs` | S6 |
//! | `backlog.rs` | S7 |
//! | `memory.rs` | S8 |
//! | `latency.rs` | S9 |
//! | `streams.rs` | S10 |
//! | `persistence.rs` | S1 to S3 for each persistence of Redis |
//! | `musts.rs` | the targets, and the figures found for them |
//!
//! The scenarios with competitors are in [`crate::competitors`].

mod args;
mod backlog;
mod compare;
mod jobs;
mod latency;
mod many;
mod memory;
mod musts;
mod one;
mod payloads;
mod persistence;
mod streams;

use std::process::ExitCode;

use miette::miette;

pub(crate) use args::Args;
use musts::{Figure, Found};

use crate::competitors::{NATS, Plan};

/// One scenario.
struct Scenario {
    name: &'static str,
    about: &'static str,
    run: fn(&Args) -> miette::Result<Found>,
}

const fn scenario(
    name: &'static str,
    about: &'static str,
    run: fn(&Args) -> miette::Result<Found>,
) -> Scenario {
    Scenario { name, about, run }
}

const ALL: &[Scenario] = &[
    scenario("s1", "one caller: round trip", one::at_once),
    scenario("s2", "64, 1,000 and 5,000 callers", many::run),
    scenario("s3", "enqueue", jobs::enqueued),
    scenario("s4", "drain, without answers and with", jobs::drained),
    scenario("s5", "idle pickup", one::after_quiet),
    scenario("s6", "payloads of 100 B, 10 kB and 1 MB", payloads::run),
    scenario("s7", "backlog", |args| backlog::run(args).map(nothing)),
    scenario("s8", "memory", |args| memory::run(args).map(nothing)),
    scenario("s9", "four workers far from Redis", latency::run),
    scenario("s10", "answers in parts", |args| streams::run(args).map(nothing)),
    scenario("persistence", "persistence of Redis", |args| persistence::run(args).map(nothing)),
    scenario("nats", "64 callers, against NATS", against_nats),
    scenario("callers", "1 to 5,000 callers, with competitors", callers),
];

/// All scenarios with a target, and the table of the targets.
const MUSTS: &str = "musts";

/// Of a scenario without a target.
fn nothing((): ()) -> Found {
    Found::default()
}

impl Args {
    pub(crate) fn run(&self) -> miette::Result<ExitCode> {
        for name in &self.names {
            if name != MUSTS && !ALL.iter().any(|scenario| scenario.name == name) {
                let known: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
                let known = known.join(", ");
                return Err(miette!("unknown scenario `{name}`. Known: {known}, {MUSTS}"));
            }
        }
        let (rounds, lasts) = (self.rounds, self.lasts);
        report_line!(
            "{rounds} rounds of {lasts} ms each, median (least to most); worker with a capacity of \
             {}; persistence {:?}; costs are per call",
            self.concurrency,
            self.persistence
        );
        let musts = self.names.iter().any(|name| name == MUSTS);
        let mut found = Found::default();
        for scenario in ALL {
            let named = self.names.iter().any(|name| name == scenario.name);
            if self.names.is_empty() || named || musts && musts::SCENARIOS.contains(&scenario.name)
            {
                report_line!("\n## {}: {}\n", scenario.name.to_uppercase(), scenario.about);
                found.add((scenario.run)(self)?);
            }
        }
        if let Some(table) = found.table(musts) {
            report_line!("\n## Targets\n\n{table}");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn plan(&self) -> Plan {
        Plan {
            names: self.with.clone(),
            installed: self.installed.clone(),
            callers: self.callers.clone(),
            rounds: self.rounds,
            lasts_ms: self.lasts,
            warm_up_ms: self.warm_up,
            concurrency: self.concurrency,
            svg: self.svg.clone(),
        }
    }
}

fn callers(args: &Args) -> miette::Result<Found> {
    args.plan().run().map(|_| Found::default())
}

fn against_nats(args: &Args) -> miette::Result<Found> {
    let names = vec![NATS.to_owned()];
    let plan = Plan { names, callers: vec![args.fewer(64)], svg: None, ..args.plan() };
    let mut found = Found::default();
    for (_, _, ratio) in plan.run()? {
        found.note(Figure::Callers64Nats, ratio);
    }
    Ok(found)
}
