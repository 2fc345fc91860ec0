//! `cargo xtask long services`: the test of killed services, with figures that take minutes.

use std::process::ExitCode;

use crate::workspace::{Workspace, run as succeeds, verdict};

/// 10,000 executes of 20 callers on one counter; its worker is killed 20 times.
pub(in crate::long) fn run(workspace: &Workspace) -> miette::Result<ExitCode> {
    let mut build = workspace.cargo();
    if !succeeds(build.args(["build", "--quiet", "--package", "redcall-tests", "--bins"]))? {
        return Ok(verdict(false));
    }
    let mut test = workspace.cargo();
    test.args(["test", "--quiet", "--package", "redcall-tests", "--test", "suite"]);
    test.args(["services::crashes::kills_lose_no_step_and_repeat_none", "--", "--nocapture"]);
    succeeds(test.env("REDCALL_TEST_LONG", "1")).map(verdict)
}
