//! `cargo xtask bench`: Redcall and the floors side by side, in a release build.

use std::process::{Command, ExitCode};

use miette::miette;

use crate::redis_server;
use crate::workspace::{Workspace, run as succeeds, verdict};

/// What `bench` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scenarios and flags of `redcall-bench run`; without any, all scenarios.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Builds what is measured, and measures.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> miette::Result<ExitCode> {
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--quiet", "--package", "redcall-bench"]);
    build.args(["--package", "redcall-cli", "--package", "redcall-worker"]);
    if !succeeds(&mut build)? {
        return Err(miette!("the programs could not be built"));
    }
    let program = workspace.target_dir()?.join("release").join("redcall-bench");
    let mut bench = Command::new(program);
    bench.arg("run").args(&args.args).env(redis_server::VARIABLE, redis_server::ensure()?.path);
    succeeds(&mut bench).map(verdict)
}
