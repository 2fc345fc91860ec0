//! `cargo xtask long events`: a hundred subscribers of a thousand events a second, in a release
//! build, and one that is away for half a minute.

use std::process::ExitCode;

use crate::workspace::{Workspace, run as succeeds, verdict};

/// See `tests/src/bin/events.rs`.
pub(super) fn run(workspace: &Workspace) -> miette::Result<ExitCode> {
    let mut run = workspace.cargo();
    run.args(["run", "--quiet", "--release", "--package", "redcall-tests", "--bin", "events"]);
    succeeds(&mut run).map(verdict)
}
