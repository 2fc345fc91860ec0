//! A Python interpreter with the `redis` package, for the tests that prove a foreign client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages of the environment; a change here renews it.
const REQUIREMENTS: &[&str] = &["redis>=5"];

/// The start of the variables that name the interpreters of the gateway's tests.
const GATEWAY: &str = "REDCALL_PYTHON_";

/// Returns the interpreter of a virtual environment below the target directory. Created once; later
/// calls only check its stamp.
///
/// # Errors
/// In one line, why there is none.
pub(crate) fn ensure(target: &Path) -> Result<PathBuf, String> {
    environment(&target.join("venv"), &REQUIREMENTS.join("\n"))
}

/// Returns the interpreters of the gateway's tests, each with its variable: one environment for
/// each `gateway/tests/<protocol>/requirements.txt`, since programs of several protocols need
/// different versions of the same packages.
///
/// # Errors
/// As [`ensure`].
pub(crate) fn ensure_for_gateway(
    root: &Path,
    target: &Path,
) -> Result<Vec<(String, PathBuf)>, String> {
    let tests = root.join("gateway/tests");
    let entries = fs::read_dir(&tests).map_err(|error| format!("{}: {error}", tests.display()))?;
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Ok(wanted) = fs::read_to_string(entry.path().join("requirements.txt")) {
            let python = environment(&target.join(format!("venv-{name}")), wanted.trim())?;
            found.push((format!("{GATEWAY}{}", name.to_uppercase()), python));
        }
    }
    Ok(found)
}

/// Returns the interpreter of an environment with these packages, one per line.
fn environment(folder: &Path, wanted: &str) -> Result<PathBuf, String> {
    let python = folder.join("bin").join("python");
    let stamp = folder.join("requirements.stamp");
    // The interpreter is a link to the system's, which may have gone since.
    if fs::read_to_string(&stamp).is_ok_and(|stood| stood == wanted) && python.exists() {
        return Ok(python);
    }
    succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    succeed(Command::new(&python).args(install).args(wanted.lines()))?;
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
