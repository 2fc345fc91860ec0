//! A Python interpreter with packages from PyPI, for the tests that prove foreign programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages of the environment; a change here renews it.
const REQUIREMENTS: &[&str] = &["redis>=5", "json-rpc==1.15.0"];

/// Returns the interpreter of a virtual environment below the target directory. Created once; later
/// calls only check its stamp.
///
/// # Errors
/// In one line, why there is none.
pub(crate) fn ensure(target: &Path) -> Result<PathBuf, String> {
    let folder = target.join("venv");
    let python = folder.join("bin").join("python");
    let stamp = folder.join("requirements.stamp");
    let wanted = REQUIREMENTS.join("\n");
    // The interpreter is a link to the system's, which may have gone since.
    if fs::read_to_string(&stamp).is_ok_and(|stood| stood == wanted) && python.exists() {
        return Ok(python);
    }
    succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    succeed(Command::new(&python).args(install).args(REQUIREMENTS))?;
    // Last, so that an environment that was left half made is made again.
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(python)
}

pub(crate) fn succeed(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let arguments: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    // Errors of pip are on stderr, those of venv partly on stdout, which begins with the cause.
    let said = [output.stderr, output.stdout].concat();
    let said = String::from_utf8_lossy(&said);
    let cause = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Err(format!("`{program} {}` failed: {cause}", arguments.join(" ")))
}
