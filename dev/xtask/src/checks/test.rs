//! `cargo xtask test`: every test there is, from a fresh checkout.

use std::path::{Path, PathBuf};
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
    /// Fail when there is no Node for the tests that need it, instead of skipping them.
    #[arg(long)]
    require_node: bool,
    /// Run only the tests with one of these in their names.
    filters: Vec<String>,
}

/// An interpreter that some tests need.
struct Interpreter {
    name: &'static str,
    /// How to install it.
    help: &'static str,
    /// If it is missing, the run fails, instead of skipping those tests.
    is_required: bool,
}

impl Interpreter {
    /// Returns what was `provided`; `None` if it is missing and not required.
    fn of<T>(&self, provided: Result<T, String>) -> miette::Result<Option<T>> {
        let Self { name, help, is_required } = self;
        match provided {
            Ok(provided) => Ok(Some(provided)),
            Err(reason) if *is_required => {
                Err(miette!(help = *help, "the tests need {name}: {reason}"))
            }
            Err(reason) => {
                eprintln!("Skipping the tests that need {name}: {reason}");
                Ok(None)
            }
        }
    }
}

/// Provides the tests' dependencies and runs the tests.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> miette::Result<ExitCode> {
    let server = redis_server::ensure()?;
    let newer = redis_server::ensure_newer()?;
    let target = workspace.target_dir()?;
    let python = Interpreter {
        name: "Python",
        help: "install Python 3 with its venv module (Debian: apt install python3-venv)",
        is_required: args.require_python,
    };
    let node = Interpreter {
        name: "Node",
        help: "install Node with npm (Debian: apt install nodejs npm)",
        is_required: args.require_node,
    };
    let pythons = python.of(pythons(workspace.root(), &target))?.unwrap_or_default();
    let node = node.of(node::ensure(&target))?;

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
        cargo.envs(pythons.iter().cloned());
        if let Some(modules) = &node {
            cargo.env(NODE, modules);
        }
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

/// Returns every interpreter of Python that tests need, each with its variable.
fn pythons(root: &Path, target: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let mut found = python::ensure_for_gateway(root, target)?;
    found.push((PYTHON.to_owned(), python::ensure(target)?));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_interpreter_fails_the_run_only_if_required() {
        let of = |is_required, provided: Result<&str, &str>| {
            let interpreter = Interpreter { name: "Node", help: "install it", is_required };
            let provided = provided.map(PathBuf::from).map_err(str::to_owned);
            interpreter.of(provided).map_err(|error| error.to_string())
        };
        assert_eq!(of(false, Err("node: not found")), Ok(None));
        assert_eq!(
            of(true, Err("node: not found")),
            Err("the tests need Node: node: not found".to_owned())
        );
        assert_eq!(of(true, Ok("modules")), Ok(Some("modules".into())));
    }
}
