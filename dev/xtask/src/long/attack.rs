//! `cargo xtask long attack`: legitimate calls on a queue with a hostile neighbour.
//!
//! Each attack runs for some seconds during 200 legitimate calls a second, on a private Redis with
//! a worker of its own, in a release build. Each prints a row. The run fails if a bound is missed.
//!
//! | file | holds |
//! |---|---|
//! | `attack/run.rs` | the arguments, and the rows so far |
//! | `attack/stage/rig.rs` | Redis, the worker, their memory |
//! | `attack/stage/calls.rs` | the legitimate calls |
//! | `attack/stage/row.rs` | the figures of one attack, and its bounds |
//! | `attack/refusals.rs`, `junk.rs`, `types.rs`, `logs.rs`, `deferred.rs` | through Redis |
//! | `attack/children.rs`, `endpoints.rs` | through the worker's child processes and endpoints |
//! | `attack/admin.rs`, `frames.rs` | on its probes, and on its answers |

mod admin;
mod children;
mod deferred;
mod endpoints;
mod frames;
mod junk;
mod logs;
mod refusals;
mod run;
/// The server, the worker, the legitimate calls, and the figures of an attack.
mod stage {
    pub(super) mod calls;
    pub(super) mod rig;
    pub(super) mod row;
}
mod types;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use miette::miette;
use run::{Args, Run};
use stage::rig::Rig;
use stage::row::Bounds;
use stage::{rig, row};

use crate::workspace::{Workspace, run as succeeds, verdict};

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

/// The legitimate calls alone, to compare the others with.
fn calm(run: &mut Run) -> miette::Result<()> {
    let lasts = run.lasts(Duration::from_secs(4));
    for concurrency in [64, 1] {
        let name = format!("calm, concurrency {concurrency}");
        if !run.wants(&name) {
            continue;
        }
        let rig = Rig::start(&run.worker, &rig::Setup { concurrency, ..Default::default() })?;
        let row = rig.with_callers(&name, Bounds::default(), |_| {
            std::thread::sleep(lasts);
            Ok(row::Figures::default())
        })?;
        run.note(row);
    }
    Ok(())
}
