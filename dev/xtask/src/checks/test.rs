//! `cargo xtask test`: every test there is, from a fresh checkout.

use std::path::PathBuf;
use std::process::ExitCode;

use miette::miette;

use crate::checks::steps::Steps;
use crate::programs::{node, python, redis_server};
use crate::tidy;
use crate::workspace::{Workspace, run as succeeds, runs};

/// Names the Python interpreter with the `redis` package for the tests that need one.
const PYTHON: &str = "REDCALL_PYTHON";

/// Names the folder with the packages of Node for the test that needs them.
const NODE: &str = "REDCALL_NODE_MODULES";

/// The arguments of `test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fail when there is no Python for the tests that need it, instead of skipping them.
    #[arg(long)]
    require_python: bool,
    /// Run only the tests with one of these in their names.
    filters: Vec<String>,
}

/// Provides the tests' dependencies and runs the tests.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> miette::Result<ExitCode> {
    let server = redis_server::ensure()?;
    let newer = redis_server::ensure_newer()?;
    let python = match python::ensure(&workspace.target_dir()?) {
        Ok(python) => Some(python),
        Err(reason) if args.require_python => {
            return Err(miette!(
                help = "install Python 3 with its venv module (Debian: apt install python3-venv)",
                "the tests need Python: {reason}"
            ));
        }
        Err(reason) => {
            eprintln!("Skipping the tests that need Python: {reason}");
            None
        }
    };

    let node = match node::ensure(&workspace.target_dir()?) {
        Ok(modules) => Some(modules),
        Err(reason) => {
            eprintln!("Skipping the test that needs Node: {reason}");
            None
        }
    };

    let gateway = gateway_pythons(workspace)?;

    let with_environment = || {
        let mut cargo = workspace.cargo();
        // The user's own settings: a worker that a test starts would go to the user's Redis.
        for (name, _) in std::env::vars_os() {
            if name == "REDIS_URL" || name.to_string_lossy().starts_with("REDCALL_") {
                cargo.env_remove(name);
            }
        }
        cargo.env(redis_server::VARIABLE, &server.path);
        cargo.env(redis_server::NEWER, &newer.path);
        if let Some(python) = &python {
            cargo.env(PYTHON, python);
        }
        if let Some(modules) = &node {
            cargo.env(NODE, modules);
        }
        cargo.envs(gateway.iter().cloned());
        cargo
    };
    let mut steps = Steps::default();
    // Cargo builds programs only for tests of their own package; those of `tests/` run them all.
    steps.step("programs", || {
        let mut cargo = with_environment();
        succeeds(cargo.args(["build", "--quiet", "--workspace", "--bins", "--examples"]))
    });
    steps.step("tests", || {
        let mut cargo = with_environment();
        if runs("cargo-nextest", "--version") {
            cargo.args(["nextest", "run", "--workspace"]).args(&args.filters);
        } else {
            // Everything but the documentation's examples, which come next either way.
            cargo.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]);
            cargo.arg("--").args(&args.filters);
        }
        succeeds(&mut cargo)
    });
    steps.step("documentation's examples", || {
        let mut cargo = with_environment();
        cargo.args(["test", "--workspace", "--doc", "--quiet", "--"]).args(&args.filters);
        succeeds(&mut cargo)
    });
    steps.step("tidy", || tidy::passes(workspace));
    Ok(steps.finish())
}

/// Returns the interpreters of the gateway's tests, with the variables that name them. A system
/// that no Python of this machine runs is left out: its tests say so.
fn gateway_pythons(workspace: &Workspace) -> miette::Result<Vec<(&'static str, PathBuf)>> {
    let target = workspace.target_dir()?;
    let ensure = |packages: &python::Packages| match packages.ensure(workspace.root(), &target) {
        Ok(python) => Some((packages.variable, python)),
        Err(reason) => {
            eprintln!("Skipping the tests that need {}: {reason}", packages.variable);
            None
        }
    };
    Ok(python::GATEWAY.iter().filter_map(ensure).collect())
}
