//! `cargo xtask long attack`: legitimate calls on a queue with a hostile neighbour.
//!
//! Each attack runs for some seconds during 200 legitimate calls a second, on a private Redis with
//! a worker of its own, in a release build. Each prints a row. The run fails if a bound is missed.
//!
//! | file | holds |
//! |---|---|
//! | `attack/rig.rs` | Redis, the worker, their memory |
//! | `attack/calls.rs` | the legitimate calls |
//! | `attack/row.rs` | the figures of one attack, and its bounds |
//! | `attack/refusals.rs`, `junk.rs`, `types.rs`, `logs.rs`, `deferred.rs` | through Redis |
//! | `attack/children.rs`, `endpoints.rs` | through the worker's child processes and endpoints |
//! | `attack/admin.rs`, `frames.rs` | on its probes, and on its answers |

mod admin;
mod calls;
mod children;
mod deferred;
mod endpoints;
mod frames;
mod junk;
mod logs;
mod refusals;
mod rig;
mod row;
mod types;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use miette::miette;
use rig::Rig;
use row::{Bounds, Row};

use super::wire;
use crate::workspace::{Workspace, run as succeeds, verdict};

/// The arguments of `long attack`.
#[derive(Parser)]
#[command(name = "cargo xtask long attack", disable_version_flag = true)]
struct Args {
    /// Attacks, all of them if none is named: calm, refusals, junk, types, logs, deferred,
    /// children, endpoints, admin, frames
    names: Vec<String>,
    /// Only the cases whose name contains this text
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Fewer cases and shorter ones: 2 min in place of 8
    #[arg(long)]
    short: bool,
    /// Another worker program, in place of a release build of this one
    #[arg(long, value_name = "PROGRAM")]
    worker: Option<PathBuf>,
}

/// One attack: its name, and the function that runs its cases.
type Attack = (&'static str, fn(&mut Run) -> miette::Result<()>);

const ALL: &[Attack] = &[
    ("calm", calm),
    ("refusals", refusals::run),
    ("junk", junk::run),
    ("types", types::run),
    ("logs", logs::run),
    ("deferred", deferred::run),
    ("children", children::run),
    ("endpoints", endpoints::run),
    ("admin", admin::run),
    ("frames", frames::run),
];

/// A run: its arguments, and the rows so far.
struct Run {
    worker: PathBuf,
    args: Args,
    rows: Vec<Row>,
}

/// Builds the worker, runs the attacks, and prints the table.
pub(super) fn run(workspace: &Workspace, args: &[String]) -> miette::Result<ExitCode> {
    let args = std::iter::once("attack").chain(args.iter().map(String::as_str));
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    let known = |name: &String| ALL.iter().any(|(attack, _)| attack == name);
    if let Some(name) = args.names.iter().find(|name| !known(name)) {
        let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        return Err(miette!(help = names.join(", "), "unknown attack `{name}`"));
    }
    let worker = match &args.worker {
        Some(worker) => worker.clone(),
        None => built(workspace)?,
    };
    let mut run = Run { worker, args, rows: Vec::new() };
    println!("{}", row::heading());
    for (name, attack) in ALL {
        if run.args.names.is_empty() || run.args.names.iter().any(|one| one == name) {
            attack(&mut run)?;
        }
    }
    Ok(verdict(run.table()))
}

/// The worker in a release build.
fn built(workspace: &Workspace) -> miette::Result<PathBuf> {
    let mut build = workspace.cargo();
    if !succeeds(build.args(["build", "--quiet", "--release", "--package", "redcall-worker"]))? {
        return Err(miette!("the worker could not be built"));
    }
    Ok(workspace.target_dir()?.join("release").join("redcall-worker"))
}

impl Run {
    /// Returns `true` if the case was requested.
    fn wants(&self, case: &str) -> bool {
        self.args.case.as_ref().is_none_or(|part| case.contains(part.as_str()))
    }

    /// The longer or the shorter of two times.
    fn lasts(&self, long: Duration) -> Duration {
        if self.args.short { long / 2 } else { long }
    }

    /// Notes a row, and prints it.
    fn note(&mut self, row: Row) {
        println!("{row}");
        self.rows.push(row);
    }

    /// Prints all rows once more, with their violations; returns `true` if there are none.
    fn table(&self) -> bool {
        println!("\n{}", row::heading());
        self.rows.iter().for_each(|row| println!("{row}"));
        let missed: Vec<&Row> = self.rows.iter().filter(|row| !row.missed.is_empty()).collect();
        println!("\n{} attacks, {} with a missed bound", self.rows.len(), missed.len());
        for row in &missed {
            println!("  {}: {}", row.name, row.missed.join("; "));
        }
        missed.is_empty()
    }
}

/// The legitimate calls alone, to compare the others with.
fn calm(run: &mut Run) -> miette::Result<()> {
    let lasts = run.lasts(Duration::from_secs(4));
    for concurrency in [64, 1] {
        let name = format!("calm, concurrency {concurrency}");
        if !run.wants(&name) {
            continue;
        }
        let rig = Rig::start(&run.worker, &rig::Setup { concurrency, ..Default::default() })?;
        let row = rig.beside(&name, Bounds::default(), |_| {
            std::thread::sleep(lasts);
            Ok(row::Figures::default())
        })?;
        run.note(row);
    }
    Ok(())
}
