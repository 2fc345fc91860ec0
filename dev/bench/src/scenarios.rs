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

mod args;
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

pub(crate) use args::Args;

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
        report_line!(
            "{rounds} rounds of {lasts} ms each, median (least to most); worker with a capacity of \
             {}; persistence {:?}; costs are per call",
            self.concurrency,
            self.persistence
        );
        for scenario in ALL {
            if self.names.is_empty() || self.names.iter().any(|name| name == scenario.name) {
                report_line!("\n## {}: {}\n", scenario.name.to_uppercase(), scenario.about);
                (scenario.run)(self)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
