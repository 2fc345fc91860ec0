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
    /// Scenarios and flags of `redcall-bench run`; without any, all scenarios. `musts` runs those
    /// that have a target, and prints the targets with the figures. `--install` installs the
    /// competitors that `--with` names, or all.
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
        None => {
            let competitors = Competitors::find(workspace)?;
            competitors.forget_stale()?;
            let (install, args) = split(&args.args);
            if install {
                competitors.install(&chosen(&args))?;
            }
            measure(workspace, |bench| {
                bench.arg("run").arg("--installed").arg(competitors.installed()).args(args)
            })
        }
        Some(Verb::Competitors { install, args }) => {
            let competitors = Competitors::find(workspace)?;
            competitors.forget_stale()?;
            let (install_too, args) = split(args);
            if *install || install_too {
                competitors.install(&args)?;
            }
            measure(workspace, |bench| {
                bench.arg("competitors").arg("--installed").arg(competitors.installed()).args(args)
            })
        }
    }
}

/// Returns whether `--install` is among the arguments, and the others: the flag may be anywhere.
fn split(args: &[String]) -> (bool, Vec<&str>) {
    let (flags, args): (Vec<_>, Vec<_>) =
        args.iter().map(String::as_str).partition(|arg| *arg == "--install");
    (!flags.is_empty(), args)
}

/// Returns the competitors that `--with` names.
fn chosen<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let after = args.iter().position(|arg| *arg == "--with").and_then(|at| args.get(at + 1));
    let joined = args.iter().find_map(|arg| arg.strip_prefix("--with="));
    let names = after.copied().or(joined).unwrap_or_default();
    names.split(',').filter(|name| !name.is_empty()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn competitors_to_install_are_those_of_with() {
        let args = ["callers", "--install", "--with", "nats,tarpc"].map(str::to_owned);
        let (install, args) = split(&args);
        assert_eq!((install, chosen(&args)), (true, vec!["nats", "tarpc"]));
        assert_eq!(chosen(&["s1", "--with=nats"]), ["nats"]);
        assert_eq!(chosen(&["s1"]), [""; 0]);
    }
}
