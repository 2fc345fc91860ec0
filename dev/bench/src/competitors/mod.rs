//! Other job queues, and NATS, compared with Redcall: waited calls in turns, in one run.
//!
//! | file | holds |
//! |---|---|
//! | `adapter.rs` | an installed adapter: its program, its worker, its server |
//! | `callers.rs` | all of them at each of several numbers of callers, with a plot |
//! | `list.rs` | the competitors, and those that are installed |
//! | `table.rs` | the output |
//! | `turns.rs` | a turn of Redcall, and the check of all figures |
//!
//! The adapters are in `dev/bench/competitors`; `cargo xtask bench competitors --install` installs
//! them.

mod adapter;
mod callers;
mod list;
mod table;
mod turns;

use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) use self::callers::Plan;
pub(crate) use self::list::NATS;

use self::adapter::Adapter;
use self::list::{LONGEST_MS, MAX_ROUNDS, bounded, present};
use self::table::Pair;
use self::turns::{answered, redcall};
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

impl Args {
    pub(crate) fn run(&self) -> miette::Result<ExitCode> {
        let present = present(&self.installed, &self.names)?;
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
        let (rounds, lasts) = bounded(slow, self.rounds, self.lasts);
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
