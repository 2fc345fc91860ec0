//! Packages of Node for the test of docs/reference/protocol.md's program in JavaScript.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs::python::succeed;

/// The installed packages; a change here renews the installation.
const PACKAGES: &[&str] = &["ioredis@5"];

/// Returns the folder `node_modules` below the target directory. Created once; later calls only
/// check its stamp.
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
