//! `cargo xtask demo`: the example end to end, from a fresh checkout.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use crate::programs::redis_server;
use crate::workspace::{Workspace, run as succeeds};

/// The arguments of `demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Passed on to the example.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Builds the example and the worker, and becomes the example.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> miette::Result<ExitCode> {
    let mut example = Command::new(workspace.target_dir()?.join("debug").join("example"));
    if std::env::var_os("REDIS_URL").is_none() {
        let server = redis_server::ensure()?;
        example.env(redis_server::VARIABLE, server.path);
    }
    eprintln!("Building the example and the worker …");
    let mut build = workspace.cargo();
    build.args(["build", "--quiet", "--package", "redcall-example", "--package", "redcall-worker"]);
    if !succeeds(&mut build)? {
        return Err(miette!(help = "see the compiler's messages above", "the build failed"));
    }
    // Becoming the example instead of waiting for it: Ctrl-C and its exit code are its own.
    let error = example.args(&args.args).exec();
    Err(error).into_diagnostic().wrap_err("the example could not be started")
}
