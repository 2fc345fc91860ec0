//! Packages of Node for the test of PROTOCOL.md's program in JavaScript.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is installed; a change here renews it.
const PACKAGES: &[&str] = &["ioredis@5"];

/// The folder `node_modules` below the target directory. Made once; later calls only look at its
/// stamp.
///
/// # Errors
/// In one line, why there is none.
pub(crate) fn ensure(target: &Path) -> Result<PathBuf, String> {
    let folder = target.join("node");
    let (modules, stamp) = (folder.join("node_modules"), folder.join("packages.stamp"));
    let wanted = PACKAGES.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|stood| stood == wanted) {
        return Ok(modules);
    }
    succeed(Command::new("node").arg("--version"))?;
    let install = ["install", "--silent", "--no-fund", "--no-audit", "--prefix"];
    succeed(Command::new("npm").args(install).arg(&folder).args(PACKAGES))?;
    // Last, so that a folder that was left half made is made again.
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(modules)
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let cause = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Err(format!("`{program}` failed: {cause}"))
}
