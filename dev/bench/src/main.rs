//! `redcall-bench`: compares Redcall with the baselines that Redis sets, side by side.
//!
//! | file | holds |
//! |---|---|
//! | `baseline/` | the baselines: plain sockets, nothing of Redcall |
//! | `competitors/` | other job queues, and NATS |
//! | `rig.rs`, `rig/` | a private Redis, workers, where each process runs and what it uses |
//! | `plot.rs` | a plot of calls and latencies by number of callers |
//! | `relay.rs` | a network with a delay |
//! | `scenarios.rs`, `scenarios/` | the measurements: S1 to S10 |
//! | `table.rs` | medians, spreads and ratios |
//!
//! Run by `cargo xtask bench`, which builds it and the programs that it starts.

/// Prints a line of the report, in functions that return a [`miette::Result`].
macro_rules! report_line {
    ($($text:tt)*) => {
        miette::IntoDiagnostic::into_diagnostic(
            redcall_common::output::line(format_args!($($text)*))
        )?
    };
}

mod baseline;
mod competitors;
mod load_verbs;
mod plot;
mod relay;
mod rig;
mod scenarios;
mod table;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Parser, Subcommand};
use miette::{IntoDiagnostic as _, miette};
use redcall_common::failure;
use redcall_common::output::{CLOSED, Unwritten};

/// The worker's allocator: calls are many small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load Redis and workers, and measure the speed
#[derive(Parser)]
#[command(name = "redcall-bench", bin_name = "redcall bench", version)]
struct Cli {
    /// Settings file (TOML, YAML or JSON) [default: $REDCALL_SETTINGS, else ./redcall.toml]
    #[arg(long, global = true, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Redis to use instead of the one in the settings
    #[arg(long, global = true, value_name = "URL")]
    redis: Option<String>,
    /// Print JSON, also for errors
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    #[command(flatten)]
    Load(load_verbs::Bench),
    /// Run scenarios, all or those that are named, and print a table
    #[command(hide = true)]
    Run(scenarios::Args),
    /// Compare with other job queues, those that are installed
    #[command(hide = true)]
    Competitors(competitors::Args),
    /// One side of a baseline
    #[command(hide = true, subcommand)]
    Baseline(Baseline),
    /// Run a program on one CPU
    #[command(hide = true)]
    Pin {
        cpu: usize,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

#[derive(Subcommand)]
enum Baseline {
    PingCall { address: String, lasts_ms: u64, pause_ms: u64, size: usize },
    PingAnswer { address: String, size: usize },
    LiteralCall { address: String, lasts_ms: u64, callers: usize },
    LiteralAnswer { address: String },
}

fn main() -> miette::Result<ExitCode> {
    run().or_else(|error| match error.downcast_ref::<Unwritten>() {
        // Its reader, such as `head`, has seen enough.
        Some(unwritten) if unwritten.is_closed() => Ok(ExitCode::from(CLOSED)),
        _ => Err(error),
    })
}

fn run() -> miette::Result<ExitCode> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(shown) => {
            return Ok(failure::help(shown.print(), shown.use_stderr(), shown.exit_code()));
        }
    };
    match cli.verb {
        Verb::Load(bench) => Ok(match bench.start(cli.settings.as_deref(), cli.redis, cli.json) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.end(cli.json),
        }),
        Verb::Run(args) => args.run(),
        Verb::Competitors(args) => args.run(),
        Verb::Baseline(baseline) => baseline.run().map(|()| ExitCode::SUCCESS),
        Verb::Pin { cpu, command } => {
            rig::pin(None, cpu).into_diagnostic()?;
            let [program, args @ ..] = command.as_slice() else {
                return Err(miette!("no program to run"));
            };
            Err(Command::new(program).args(args).exec()).into_diagnostic()
        }
    }
}

impl Baseline {
    fn run(self) -> miette::Result<()> {
        let lasts = Duration::from_millis;
        let figures = match self {
            Self::PingCall { address, lasts_ms, pause_ms, size } => {
                baseline::ping::call(&address, lasts(lasts_ms), lasts(pause_ms), size)
            }
            Self::LiteralCall { address, lasts_ms, callers } => {
                baseline::literal::call(&address, callers, lasts(lasts_ms))
            }
            Self::PingAnswer { address, size } => {
                return baseline::ping::answer(&address, size).into_diagnostic();
            }
            Self::LiteralAnswer { address } => {
                return baseline::literal::answer(&address).into_diagnostic();
            }
        };
        let figures = figures.into_diagnostic()?;
        report_line!("{}", serde_json::to_string(&figures).into_diagnostic()?);
        Ok(())
    }
}
