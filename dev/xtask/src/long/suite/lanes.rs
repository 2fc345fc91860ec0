//! `cargo xtask long lanes`: the test of a handler that computes for three leases, with figures.

use std::process::ExitCode;

use crate::workspace::{Workspace, run as succeeds, verdict};

/// 1,000 calls a second beside it; prints their times.
pub(in crate::long) fn run(workspace: &Workspace) -> miette::Result<ExitCode> {
    let mut test = workspace.cargo();
    test.args(["test", "--quiet", "--package", "redcall-tests", "--test", "suite"]);
    test.args(["requests::lanes::handler_that_spins_for_three_leases", "--", "--nocapture"]);
    succeeds(test.env("REDCALL_TEST_LONG", "1")).map(verdict)
}
