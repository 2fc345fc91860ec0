//! Python interpreters for tests: one with the `redis` package, for those of a foreign client, and
//! one for each system whose programs the gateway's tests run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages of the environment; a change here renews it.
const REQUIREMENTS: &[&str] = &["redis>=5", "json-rpc==1.15.0"];

/// The start of the variables that name the interpreters of the gateway's tests.
const GATEWAY: &str = "REDCALL_PYTHON_";

/// A line of a requirements file that starts so names the only versions of Python that can run the
/// packages, best first: `# python 3.6 3.5`.
const VERSIONS: &str = "# python ";

/// Returns the interpreter of a virtual environment below the target directory. Created once; later
/// calls only check its stamp.
///
/// # Errors
/// In one line, why there is none.
pub(crate) fn ensure(target: &Path) -> Result<PathBuf, String> {
    environment("python3", &target.join("venv"), &REQUIREMENTS.join("\n"))
}

/// Returns the interpreters of the gateway's tests, each with its variable: one environment for
/// each `gateway/tests/<folder>/requirements.txt`, since programs of several systems need
/// different versions of the same packages. A system that no Python of this machine runs is
/// omitted with a message; its tests print one too.
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
        let Ok(wanted) = fs::read_to_string(entry.path().join("requirements.txt")) else {
            continue;
        };
        let Some(interpreter) = interpreter(&wanted) else {
            eprintln!("Skipping the tests of {name}: no Python of this machine can run it");
            continue;
        };
        let folder = target.join(format!("venv-{name}"));
        let python = environment(&interpreter, &folder, wanted.trim())?;
        found.push((format!("{GATEWAY}{}", name.to_uppercase()), python));
    }
    Ok(found)
}

/// Returns the interpreter that can run these packages.
fn interpreter(requirements: &str) -> Option<String> {
    match requirements.lines().find_map(|line| line.strip_prefix(VERSIONS)) {
        Some(versions) => versions.split_whitespace().find_map(find),
        None => Some("python3".to_owned()),
    }
}

/// Returns a program that runs Python of this version: from the path, or from pyenv, which has
/// several.
fn find(version: &str) -> Option<String> {
    let runs = |program: &str| {
        Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    let name = format!("python{version}");
    if runs(&name) {
        return Some(name);
    }
    let home = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")))?;
    let versions = fs::read_dir(home.join("versions")).ok()?.flatten();
    versions
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{version}.")))
        .map(|entry| entry.path().join("bin/python").display().to_string())
        .find(|program| runs(program))
}

/// Returns the interpreter of an environment with these packages, one per line.
fn environment(interpreter: &str, folder: &Path, wanted: &str) -> Result<PathBuf, String> {
    let python = folder.join("bin").join("python");
    let stamp = folder.join("requirements.stamp");
    // The interpreter is a link to the system's, which may have gone since.
    if fs::read_to_string(&stamp).is_ok_and(|stood| stood == wanted) && python.exists() {
        return Ok(python);
    }
    succeed(Command::new(interpreter).args(["-m", "venv", "--clear"]).arg(folder))?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let packages = wanted.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    succeed(Command::new(&python).args(install).args(packages))?;
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
    let text = [output.stderr, output.stdout].concat();
    let text = String::from_utf8_lossy(&text);
    let cause = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("it printed nothing");
    Err(format!("`{program} {}` failed: {cause}", arguments.join(" ")))
}
