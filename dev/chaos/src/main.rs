//! `redcall-chaos`, started by `redcall chaos`: attacks private servers and workers under load
//! on this machine, and checks the outcome of every call. Also the workers that it attacks.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use redcall_chaos::{ChaosError, Counts, Options, Post, Progress, Stage};
use redcall_common::output as out;
use redcall_common::report::Problem;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use redcall_common::failure::{self, Failure};
use redcall_common::signals::Signals;
use tokio::runtime::Runtime;

/// Interval of the display's updates.
const DRAW: Duration = Duration::from_millis(200);

/// The worker's allocator: calls are many small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Attack private servers and workers under load, and check the outcome of every call
///
/// It starts a Redis with an append-only file, workers and callers of its own, and uses no
/// others. If interrupted, it ends and checks the calls made so far. Exit codes: 0 all
/// guarantees held, 1 some were broken (the history of every call is kept) or the run failed,
/// 2 invalid flags, 3 no Redis server is installed on this machine.
#[derive(Parser)]
#[command(name = "redcall-chaos", bin_name = "redcall chaos", version, verbatim_doc_comment)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    chaos: Chaos,
    /// Print JSON, also for errors
    #[arg(long)]
    json: bool,
    /// The run has a Redis of its own
    #[arg(long, hide = true)]
    settings: Option<PathBuf>,
    /// The run has a Redis of its own
    #[arg(long, hide = true)]
    redis: Option<String>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Run as a worker of a run
    #[command(hide = true)]
    Worker(ChaosWorker),
}

fn main() -> ExitCode {
    // Without it, a file that is too large ends the program without a message.
    let _ = out::outlive_size_limit();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(shown) => return failure::help(shown.print(), shown.use_stderr(), shown.exit_code()),
    };
    let done = match cli.verb {
        // It has a runtime of its own.
        Some(Verb::Worker(worker)) => worker.serve().map(|()| 0),
        None => match Runtime::new() {
            Ok(runtime) => runtime.block_on(cli.chaos.run(cli.json)),
            Err(error) => Err(Failure::system(&error)),
        },
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.end(cli.json),
    }
}

/// Load, attacks and duration.
#[derive(Args)]
struct Chaos {
    /// Duration of calls and attacks, 1s to 1day
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration)]
    duration: Duration,
    /// Number of worker processes
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count(2, 64))]
    workers: usize,
    /// Number of callers, each with a client of its own
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = count(1, 500))]
    callers: usize,
    /// Lease of the workers, 300ms to 5s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = lease)]
    lease: Duration,
    /// Timeout of each call, 1s to 1min
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = timeout)]
    timeout: Duration,
    /// Seed of plan and load; else a random one, which is printed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of kills of a worker that holds a lease; by default one per 5 s
    #[arg(long, value_name = "N")]
    kills: Option<u32>,
    /// Number of stops of a worker for longer than its lease; by default one per 20 s
    #[arg(long, value_name = "N")]
    stops: Option<u32>,
    /// Number of kills and restarts of Redis; by default one per 30 s
    #[arg(long, value_name = "N")]
    restarts: Option<u32>,
    /// Number of times connections are cut; by default one per 15 s
    #[arg(long, value_name = "N")]
    cuts: Option<u32>,
    /// Number of periods with delayed and split replies; by default one per 30 s
    #[arg(long, value_name = "N")]
    delays: Option<u32>,
    /// Number of periods with lost replies; by default one per 30 s
    #[arg(long, value_name = "N")]
    losses: Option<u32>,
    /// Number of periods with unread logs; by default one per 30 s. Unless it is 0, every fourth
    /// worker logs to a full device
    #[arg(long, value_name = "N")]
    logs: Option<u32>,
    /// Number of periods in which Redis cannot save and refuses writes; by default one per 60 s
    #[arg(long, value_name = "N")]
    disks: Option<u32>,
    /// Number of periods in which callers and workers lack a right; by default one per 30 s
    #[arg(long, value_name = "N")]
    rights: Option<u32>,
    /// Number of steps of the clock of Redis, forth and back, if libfaketime is installed; by
    /// default one per 30 s
    #[arg(long, value_name = "N")]
    clocks: Option<u32>,
    /// Keep the history even if all guarantees held
    #[arg(long)]
    keep: bool,
}

/// Arguments of a worker of a chaos run.
#[derive(Args)]
struct ChaosWorker {
    url: String,
    #[arg(value_parser = lease)]
    lease: Duration,
    folder: PathBuf,
}

fn duration(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_secs(1), Duration::from_secs(86_400))
}

fn lease(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_millis(300), Duration::from_secs(5))
}

fn timeout(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_secs(1), Duration::from_secs(60))
}

fn between(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time < min || time > max {
        let (min, max) = (humantime::format_duration(min), humantime::format_duration(max));
        return Err(format!("expected {min} to {max}"));
    }
    Ok(time)
}

fn count(min: u64, max: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(min..=max)
}

impl Chaos {
    /// Runs it and prints the report. Returns exit code 0 if all guarantees held, else 1.
    async fn run(self, as_json: bool) -> Result<u8, Failure> {
        let options = self.options()?;
        let (progress, seen) = watch::channel(Progress::default());
        let interrupted = CancellationToken::new();
        let interrupt = interrupted.clone();
        let mut signals = Signals::subscribe().map_err(|error| Failure::system(&error))?;
        tokio::spawn(async move {
            // The first signal ends the attacks and checks the calls; the second ends the program.
            signals.next().await;
            interrupt.cancel();
            let signal = signals.next().await;
            std::process::exit(signal.exit_code().into());
        });
        let display = tokio::spawn(display(options.duration, seen));
        let done = redcall_chaos::run(options, progress, interrupted).await;
        let _ = display.await;
        let report = done.map_err(|error| {
            let (name, code) = match error {
                ChaosError::Redis(_) => ("unavailable", 3),
                _ => ("internal", 1),
            };
            Failure::of(Problem::of(&error), name, code)
        })?;
        match as_json {
            true => out::line(serde_json::json!(report))?,
            false => out::print(&report)?,
        }
        Ok(u8::from(!report.ok))
    }

    fn options(self) -> Result<Options, Failure> {
        let program = std::env::current_exe().map_err(|error| Failure::system(&error))?;
        let usual = Counts::usual(self.duration);
        Ok(Options {
            duration: self.duration,
            workers: self.workers,
            callers: self.callers,
            lease: self.lease,
            timeout: self.timeout,
            counts: Counts {
                kills: self.kills.unwrap_or(usual.kills),
                stops: self.stops.unwrap_or(usual.stops),
                restarts: self.restarts.unwrap_or(usual.restarts),
                cuts: self.cuts.unwrap_or(usual.cuts),
                delays: self.delays.unwrap_or(usual.delays),
                losses: self.losses.unwrap_or(usual.losses),
                logs: self.logs.unwrap_or(usual.logs),
                disks: self.disks.unwrap_or(usual.disks),
                rights: self.rights.unwrap_or(usual.rights),
                clocks: self.clocks.unwrap_or(usual.clocks),
            },
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
            worker: (program, vec!["worker".to_owned()]),
            keep: self.keep,
        })
    }
}

impl ChaosWorker {
    /// Runs jobs until standard input ends.
    fn serve(self) -> Result<(), Failure> {
        let Self { url, lease, folder } = self;
        redcall_chaos::serve(&Post { url, lease, folder }).map_err(|error| Failure::system(&error))
    }
}

/// Draws a progress bar on stderr, if that is a terminal, until the run ends.
async fn display(duration: Duration, mut progress: watch::Receiver<Progress>) {
    let bar = ProgressBar::new(duration.as_secs());
    // The template is constant and valid.
    if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} {bar:30} {wide_msg}") {
        bar.set_style(style);
    }
    while progress.changed().await.is_ok() {
        let now = *progress.borrow_and_update();
        bar.set_position(match now.stage {
            Stage::Begins => 0,
            Stage::Attacks => bar.elapsed().as_secs(),
            Stage::Waits | Stage::Judges => duration.as_secs(),
        });
        bar.set_message(line(&now));
        tokio::time::sleep(DRAW).await;
    }
    bar.finish_and_clear();
}

fn line(now: &Progress) -> String {
    let Progress { calls, ended, kills, stops, restarts, cuts, spells, .. } = now;
    let text = match now.stage {
        Stage::Begins => "starting",
        Stage::Attacks => "",
        Stage::Waits => "waiting for open calls; ",
        Stage::Judges => "checking; ",
    };
    let attacks = format!("{kills} kills, {stops} stops, {restarts} restarts, {cuts} cuts");
    format!("{text}{ended} of {calls} calls, {attacks}, {spells} spells")
}
