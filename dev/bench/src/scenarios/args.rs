//! [`Args`]: the options of a run.

use std::path::PathBuf;
use std::time::Duration;

use crate::rig::{Build, Persistence, Placement, Rig};

/// The time limit of each step that waits for the jobs of a measurement.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

/// The scenarios to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scenarios, such as s1 s2; all of them if none is named
    pub(super) names: Vec<String>,
    /// Number of measurements of each
    #[arg(long, default_value_t = 5, value_parser = some())]
    pub(super) rounds: usize,
    /// Duration of each measurement, ms
    #[arg(long, default_value_t = 2000)]
    pub(super) lasts: u64,
    /// Capacity of the worker
    #[arg(long, default_value_t = 1024, value_parser = some())]
    pub(super) concurrency: usize,
    /// Persistence of Redis
    #[arg(long, value_enum, default_value_t = Persistence::None)]
    pub(super) persistence: Persistence,
    /// S5: calls of each, over all rounds
    #[arg(long, default_value_t = 100, value_parser = some())]
    pub(super) samples: usize,
    /// S5: pause before each, ms
    #[arg(long, hide = true, default_value_t = 2000)]
    pub(super) quiet: u64,
    /// S4, S7: drained jobs
    #[arg(long, default_value_t = 100_000, value_parser = some())]
    pub(super) jobs: usize,
    /// S7: queued jobs; each takes some 140 bytes of memory
    #[arg(long, default_value_t = 5_000_000, value_parser = some())]
    pub(super) backlog: usize,
    /// S3, S4: a folder with `redcall`, `redcall-bench` and `redcall-worker` of another build,
    /// which takes turns with this one
    #[arg(long, value_name = "FOLDER")]
    pub(super) against: Option<PathBuf>,
    /// S9: delay to Redis and from it, ms
    #[arg(long, default_value_t = 1)]
    pub(super) latency: u64,
    /// callers: numbers of callers
    #[arg(long, value_delimiter = ',', value_name = "N,…")]
    #[arg(default_value = "1,4,16,64,256,1000,5000", value_parser = some())]
    pub(super) callers: Vec<usize>,
    /// callers: competitors, such as nats,tarpc; all that are installed if none is named
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub(super) with: Vec<String>,
    /// callers, nats: where the competitors are installed; `cargo xtask bench` passes it
    #[arg(long, value_name = "FOLDER")]
    pub(super) installed: Option<PathBuf>,
    /// callers, nats: warm-up before each turn, ms
    #[arg(long, default_value_t = 3000)]
    pub(super) warm_up: u64,
    /// callers: write a plot to this file
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
    /// Divides the numbers of callers, for a quick check
    #[arg(long, hide = true, default_value_t = 1, value_parser = some())]
    pub(super) fewer: usize,
}

fn some() -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(1..=100_000_000)
}

impl Args {
    /// Returns the number of callers, divided for a quick check.
    pub(super) fn fewer(&self, callers: usize) -> usize {
        (callers / self.fewer).max(1)
    }

    /// Returns the measured builds: this one, and the other if one is named.
    pub(super) fn builds(&self) -> miette::Result<Vec<Build>> {
        let other = self.against.as_deref().map(Build::of).transpose()?;
        Ok([Build::own()?].into_iter().chain(other).collect())
    }

    /// Starts a private Redis and a worker.
    pub(super) fn rig(&self, placement: Placement) -> miette::Result<Rig> {
        Rig::start(placement, self.persistence, self.concurrency)
    }
}
