//! `cargo xtask check`: all that can be judged without running the tests.

use std::process::ExitCode;

use crate::checks::steps::Steps;
use crate::workspace::{Workspace, run as succeeds};
use crate::{generate, tidy};

/// Runs every check and names those that failed.
pub(crate) fn run(workspace: &Workspace) -> miette::Result<ExitCode> {
    let cargo = |args: &[&str]| {
        let mut cargo = workspace.cargo();
        cargo.args(args);
        cargo
    };
    let mut steps = Steps::default();
    steps.step("format", || succeeds(&mut cargo(&["fmt", "--all", "--check"])));
    steps.step("lints", || {
        let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
        succeeds(&mut cargo(&clippy))
    });
    steps.step("documentation", || {
        let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
        succeeds(doc.env("RUSTDOCFLAGS", "-D warnings"))
    });
    steps.step("tidy", || tidy::passes(workspace));
    steps.step("generated parts", || generate::up_to_date(workspace));
    Ok(steps.finish())
}
