//! `cargo xtask bench`: Redcall against its baselines or its competitors, in a `dist` build.

use std::process::{Command, ExitCode};

use miette::miette;

use crate::programs::competitors::Competitors;
use crate::programs::redis_server;
use crate::workspace::{Workspace, run as succeeds, verdict};

/// The arguments of `bench`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Scenarios and flags of `redcall-bench run`; without any, all scenarios.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Compare with other job queues, and with NATS; those that are not installed are skipped.
    Competitors {
        /// Install the named ones, or all, from their registries, into the target directory.
        #[arg(long)]
        install: bool,
        /// Competitors and flags of `redcall-bench competitors`; without any, all competitors.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

/// Builds the measured programs, and measures.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> miette::Result<ExitCode> {
    match &args.verb {
        None => measure(workspace, |bench| bench.arg("run").args(&args.args)),
        Some(Verb::Competitors { install, args }) => {
            let competitors = Competitors::find(workspace)?;
            competitors.forget_stale()?;
            // The flag may be anywhere.
            let (flags, args): (Vec<_>, Vec<_>) = args.iter().partition(|arg| *arg == "--install");
            if *install || !flags.is_empty() {
                competitors.install(&args)?;
            }
            measure(workspace, |bench| {
                bench.arg("competitors").arg("--installed").arg(competitors.installed()).args(args)
            })
        }
    }
}

fn measure(
    workspace: &Workspace,
    what: impl FnOnce(&mut Command) -> &mut Command,
) -> miette::Result<ExitCode> {
    let mut build = workspace.cargo();
    build.args(["build", "--profile", "dist", "--quiet", "--package", "redcall-bench"]);
    build.args(["--package", "redcall-cli", "--package", "redcall-worker"]);
    if !succeeds(&mut build)? {
        return Err(miette!("the programs could not be built"));
    }
    let program = workspace.target_dir()?.join("dist").join("redcall-bench");
    let mut bench = Command::new(program);
    what(&mut bench).env(redis_server::VARIABLE, redis_server::ensure()?.path);
    succeeds(&mut bench).map(verdict)
}
