//! The measurements: each scenario's baseline and Redcall in turns, in one run.
//!
//! | file | holds |
//! |---|---|
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

mod backlog;
mod compare;
mod jobs;
mod latency;
mod many;
mod memory;
mod one;
mod payloads;
mod persistence;
mod streams;

use std::process::ExitCode;

use miette::miette;

use crate::rig::{Persistence, Placement, Rig};

/// The scenarios to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scenarios, such as s1 s2; all of them if none is named
    names: Vec<String>,
    /// Number of measurements of each
    #[arg(long, default_value_t = 5, value_parser = some())]
    rounds: usize,
    /// Duration of each measurement, ms
    #[arg(long, default_value_t = 2000)]
    lasts: u64,
    /// Capacity of the worker
    #[arg(long, default_value_t = 1024, value_parser = some())]
    concurrency: usize,
    /// Persistence of Redis
    #[arg(long, value_enum, default_value_t = Persistence::None)]
    persistence: Persistence,
    /// S5: calls of each, over all rounds
    #[arg(long, default_value_t = 100, value_parser = some())]
    samples: usize,
    /// S5: pause before each, ms
    #[arg(long, hide = true, default_value_t = 2000)]
    quiet: u64,
    /// S4, S7: drained jobs
    #[arg(long, default_value_t = 100_000, value_parser = some())]
    jobs: usize,
    /// S7: queued jobs; each takes some 140 bytes of memory
    #[arg(long, default_value_t = 5_000_000, value_parser = some())]
    backlog: usize,
    /// S9: delay to Redis and from it, ms
    #[arg(long, default_value_t = 1)]
    latency: u64,
    /// Divides the numbers of callers, for a quick check
    #[arg(long, hide = true, default_value_t = 1, value_parser = some())]
    fewer: usize,
}

fn some() -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(1..=100_000_000)
}

/// One scenario.
struct Scenario {
    name: &'static str,
    about: &'static str,
    run: fn(&Args) -> miette::Result<()>,
}

const ALL: &[Scenario] = &[
    Scenario { name: "s1", about: "one caller: round trip", run: one::at_once },
    Scenario { name: "s2", about: "64, 1,000 and 5,000 callers", run: many::run },
    Scenario { name: "s3", about: "enqueue", run: jobs::enqueued },
    Scenario { name: "s4", about: "drain, without answers and with", run: jobs::drained },
    Scenario { name: "s5", about: "idle pickup", run: one::after_quiet },
    Scenario { name: "s6", about: "payloads of 100 B, 10 kB and 1 MB", run: payloads::run },
    Scenario { name: "s7", about: "backlog", run: backlog::run },
    Scenario { name: "s8", about: "memory", run: memory::run },
    Scenario { name: "s9", about: "four workers far from Redis", run: latency::run },
    Scenario { name: "s10", about: "answers in parts", run: streams::run },
    Scenario { name: "persistence", about: "persistence of Redis", run: persistence::run },
];

impl Args {
    pub(crate) fn run(&self) -> miette::Result<ExitCode> {
        for name in &self.names {
            if !ALL.iter().any(|scenario| scenario.name == name) {
                let known: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
                return Err(miette!("unknown scenario `{name}`. Known: {}", known.join(", ")));
            }
        }
        let (rounds, lasts) = (self.rounds, self.lasts);
        say!(
            "{rounds} rounds of {lasts} ms each, median (least to most); worker with a capacity of \
             {}; persistence {:?}; costs are per call",
            self.concurrency,
            self.persistence
        );
        for scenario in ALL {
            if self.names.is_empty() || self.names.iter().any(|name| name == scenario.name) {
                say!("\n## {}: {}\n", scenario.name.to_uppercase(), scenario.about);
                (scenario.run)(self)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Returns the number of callers, divided for a quick check.
    fn fewer(&self, callers: usize) -> usize {
        (callers / self.fewer).max(1)
    }

    fn rig(&self, placement: Placement) -> miette::Result<Rig> {
        Rig::start(placement, self.persistence, self.concurrency)
    }
}
