//! `cargo xtask long doors`: the doors of the gateway, by the clients of the systems that they
//! replace.
//!
//! First, calls per second and p50 through each door, against the original system in the same
//! run; then the memory of the gateway under hostile inputs, with a bound. Redis, worker and
//! gateway are private to each protocol, in a release build.
//!
//! | file | holds |
//! |---|---|
//! | `doors/calls.rs` | the first part: rounds of both sides, interleaved |
//! | `doors/memory.rs` | the second part: memory before, at its peak and after, and its bound |
//! | `doors/protocols/` | a protocol: its settings, its original system, its hostile inputs |
//! | `doors/python/` | clients and original systems, on the packages of `gateway/tests/` |
//! | `doors/stage/` | the processes, and connections that send hostile bytes |

mod calls;
mod memory;
mod protocols {
    pub(super) mod bgpy;
    pub(super) mod grpc_avro;
    pub(super) mod pm;
    pub(super) mod rq;
    pub(super) mod zmtp;
}
mod stage {
    pub(super) mod flood;
    pub(super) mod place;
    pub(super) mod program;
    pub(super) mod protocol;
    pub(super) mod rig;
}

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use miette::{IntoDiagnostic as _, miette};
use protocols::{bgpy, grpc_avro, pm, rq, zmtp};
use stage::place::Place;
use stage::protocol::Protocol;

use crate::programs::python;
use crate::workspace::{Workspace, run as succeeds, verdict};

const ALL: [&Protocol; 5] = [&rq::RQ, &pm::PM, &grpc_avro::GRPC_AVRO, &zmtp::ZMTP, &bgpy::BGPY];

/// The arguments of `long doors`.
#[derive(Parser)]
#[command(name = "cargo xtask long doors", disable_version_flag = true)]
struct Args {
    /// Protocols, all of them if none is named: rq, pm, grpc-avro, zmtp, bgpy
    names: Vec<String>,
    /// Only the first part: calls per second
    #[arg(long, conflicts_with = "hostile")]
    calls: bool,
    /// Only the second part: memory under hostile inputs
    #[arg(long)]
    hostile: bool,
    /// How many rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a round of one side lasts, seconds
    #[arg(long, default_value_t = 2)]
    lasts: u64,
    /// The folder of other programs, in place of a release build of this gateway and worker
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

/// Builds the programs, and runs both parts; fails if a bound is exceeded.
pub(super) fn run(workspace: &Workspace, args: &[String]) -> miette::Result<ExitCode> {
    let args = std::iter::once("doors").chain(args.iter().map(String::as_str));
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    let known = ALL.map(|protocol| protocol.name);
    if let Some(name) = args.names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(miette!(help = known.join(", "), "unknown protocol `{name}`"));
    }
    let wanted = |protocol: &&&Protocol| {
        args.names.is_empty() || args.names.iter().any(|name| name == protocol.name)
    };
    let place = place(workspace, args.programs)?;
    if !args.hostile {
        println!("{}", calls::HEADING);
        for protocol in ALL.iter().filter(wanted) {
            calls::run(&place, protocol, args.rounds, args.lasts)?;
        }
    }
    let mut bounded = true;
    if !args.calls {
        println!("\n{}", memory::HEADING);
        for protocol in ALL.iter().filter(wanted) {
            let row = memory::run(&place, protocol)?;
            println!("{row}");
            bounded &= row.is_bounded();
        }
    }
    Ok(verdict(bounded))
}

/// Builds the gateway and the worker, and the environments of the foreign programs.
fn place(workspace: &Workspace, programs: Option<PathBuf>) -> miette::Result<Place> {
    let (root, target) = (workspace.root().to_owned(), workspace.target_dir()?);
    let programs = match programs {
        Some(folder) => std::path::absolute(folder).into_diagnostic()?,
        None => {
            let mut build = workspace.cargo();
            build.args(["build", "--quiet", "--release", "--package", "redcall-worker"]);
            if !succeeds(build.args(["--package", "redcall-gateway"]))? {
                return Err(miette!("the gateway and the worker could not be built"));
            }
            target.join("release")
        }
    };
    let pythons = python::ensure_for_gateway(&root, &target).map_err(|why| miette!("{why}"))?;
    let (gateway, worker) = (programs.join("redcall-gateway"), programs.join("redcall-worker"));
    Ok(Place { root, pythons: pythons.into_iter().collect(), gateway, worker })
}
