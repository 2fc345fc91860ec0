//! Other job queues, and NATS, compared with Redcall: waited calls in turns, in one run.
//!
//! | file | holds |
//! |---|---|
//! | `adapter.rs` | an installed adapter: its program, its worker, its server |
//! | `table.rs` | the output |
//!
//! The adapters are in `dev/bench/competitors`; `cargo xtask bench competitors --install` installs
//! them.

mod adapter;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use miette::miette;
use redcall_bench::CallFigures;

use self::adapter::Adapter;
use self::table::Pair;
use crate::rig::{Persistence, Placement, Rig};

/// The competitors to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Competitors, such as rq nats; all of them if none is named
    names: Vec<String>,
    /// Where `cargo xtask bench competitors --install` has put them
    #[arg(long)]
    installed: PathBuf,
    /// Number of measurements of each
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Duration of each measurement, ms
    #[arg(long, default_value_t = 2000)]
    lasts: u64,
    /// Warm-up of each caller, ms: programs with a JIT compiler need some time
    #[arg(long, default_value_t = 3000)]
    warm_up: u64,
    /// Numbers of callers
    #[arg(long, value_delimiter = ',', default_value = "64,1000")]
    callers: Vec<usize>,
    /// Capacity of Redcall's worker
    #[arg(long, default_value_t = 1024)]
    concurrency: usize,
}

/// One competitor.
struct Competitor {
    name: &'static str,
    /// With 1,000 callers it takes seconds for one call each: it gets fewer rounds.
    slow: bool,
}

const ALL: &[Competitor] = &[
    Competitor { name: "rq", slow: true },
    Competitor { name: "celery", slow: true },
    Competitor { name: "saq", slow: false },
    Competitor { name: "bullmq", slow: false },
    Competitor { name: "apalis", slow: false },
    Competitor { name: "nats", slow: false },
];

/// Of a slow competitor.
const MAX_ROUNDS: usize = 3;
const LONGEST_MS: u64 = 1000;

impl Args {
    pub(crate) fn run(&self) -> miette::Result<ExitCode> {
        let known = || ALL.iter().map(|competitor| competitor.name).collect::<Vec<_>>().join(", ");
        if let Some(name) =
            self.names.iter().find(|name| ALL.iter().all(|competitor| competitor.name != *name))
        {
            return Err(miette!("unknown competitor `{name}`. Known: {}", known()));
        }
        let chosen = |competitor: &&Competitor| {
            self.names.is_empty() || self.names.iter().any(|name| name == competitor.name)
        };
        let mut present = Vec::new();
        for Competitor { name, slow } in ALL.iter().filter(chosen) {
            match Adapter::find(&self.installed, name) {
                Some(adapter) => present.push((adapter, *slow)),
                None => report_line!(
                    "{name} is not installed: run cargo xtask bench competitors {name} --install"
                ),
            }
        }
        if present.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        report_line!(
            "{} rounds of {} ms each (slow competitors: at most {MAX_ROUNDS} of {LONGEST_MS} ms), \
             in turns, each after {} ms of warm-up; median (least to most). {}, without \
             persistence; one process each. Redcall's worker with a capacity of {}.",
            self.rounds,
            self.lasts,
            self.warm_up,
            Placement::Own.text(),
            self.concurrency
        );
        let mut failed = false;
        for (adapter, slow) in &present {
            // After a failure, the others are still measured.
            if let Err(error) = self.compare(adapter, *slow) {
                report_line!("\n{} cannot be measured: {error:?}", adapter.name());
                failed = true;
            }
        }
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn compare(&self, adapter: &Adapter, slow: bool) -> miette::Result<()> {
        let rig = Rig::start(Placement::Own, Persistence::None, self.concurrency)?;
        let (rounds, lasts) = match slow {
            true => (self.rounds.min(MAX_ROUNDS), self.lasts.min(LONGEST_MS)),
            false => (self.rounds, self.lasts),
        };
        table::head(&adapter.about()?)?;
        let running = adapter.start(&rig.address)?;
        for &callers in &self.callers {
            let mut pair = Pair::default();
            for _ in 0..rounds {
                let theirs = running.call(callers, self.warm_up, lasts)?;
                let ours = redcall(&rig, callers, self.warm_up, lasts)?;
                pair.note(&answered(theirs)?, &answered(ours)?);
            }
            pair.print(adapter.name(), callers)?;
        }
        Ok(())
    }
}

fn redcall(rig: &Rig, callers: usize, warm_up: u64, lasts: u64) -> miette::Result<CallFigures> {
    let callers = callers.to_string();
    let [warm_up, lasts] = [warm_up, lasts].map(|ms| format!("{ms}ms"));
    let call = ["bench", "call", "--json", "--callers", &callers];
    rig.redcall(&[&call[..], &["--warm-up", &warm_up, "--duration", &lasts]].concat())
}

/// Calls that fail are soon done.
fn answered(figures: CallFigures) -> miette::Result<CallFigures> {
    match figures.errors {
        0 => Ok(figures),
        errors => Err(miette!("{errors} of {} calls failed", errors + figures.calls)),
    }
}
