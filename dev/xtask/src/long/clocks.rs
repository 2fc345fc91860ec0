//! `cargo xtask long clocks`: every transition of every time zone from 2020 to 2030, by the test
//! `common/tests/clocks.rs`, of which `cargo xtask test` runs a sample.

use std::process::ExitCode;

use crate::workspace::{Workspace, run as succeeds, verdict};

/// Runs the test over all of them.
pub(super) fn run(workspace: &Workspace) -> miette::Result<ExitCode> {
    let mut test = workspace.cargo();
    test.args(["test", "--release", "--package", "redcall-common", "--test", "clocks"]);
    test.args(["--", "--nocapture"]).env("REDCALL_CLOCKS_ALL", "1");
    succeeds(&mut test).map(verdict)
}
