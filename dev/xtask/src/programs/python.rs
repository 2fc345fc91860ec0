//! Python interpreters for tests: one with the `redis` package, for those of a foreign client, and
//! one for each system that the gateway's tests run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages of the environment; a change here renews it.
const REQUIREMENTS: &[&str] = &["redis>=5"];

/// The packages that the tests of one gateway protocol need.
pub(crate) struct Packages {
    /// Names the interpreter for the tests.
    pub(crate) variable: &'static str,
    /// The folder of the environment, below the target directory.
    folder: &'static str,
    /// The pinned packages, below the workspace.
    requirements: &'static str,
    /// The interpreters that can run them, best first: names of programs.
    interpreters: &'static [&'static str],
}

/// The environments of the gateway's tests.
pub(crate) const GATEWAY: &[Packages] = &[
    Packages {
        variable: "REDCALL_PYTHON_BGPY",
        folder: "venv-bgpy",
        requirements: "gateway/tests/bgpy/requirements.txt",
        interpreters: &["python3"],
    },
    Packages {
        variable: "REDCALL_PYTHON_RQ",
        folder: "venv-rq",
        requirements: "gateway/tests/rq/requirements.txt",
        interpreters: &["python3"],
    },
    // No newer Python can import it.
    Packages {
        variable: "REDCALL_PYTHON_RQ_0_10",
        folder: "venv-rq-0.10",
        requirements: "gateway/tests/rq/requirements-0.10.txt",
        interpreters: &["python3.6", "python3.5"],
    },
];

/// Returns the interpreter of a virtual environment below the target directory. Created once; later
/// calls only check its stamp.
///
/// # Errors
/// In one line, why there is none.
pub(crate) fn ensure(target: &Path) -> Result<PathBuf, String> {
    ensure_with("python3", &target.join("venv"), &REQUIREMENTS.join("\n"))
}

impl Packages {
    /// Returns the interpreter with these packages, as [`ensure`] does. `root` is the workspace.
    ///
    /// # Errors
    /// In one line, why there is none.
    pub(crate) fn ensure(&self, root: &Path, target: &Path) -> Result<PathBuf, String> {
        let file = root.join(self.requirements);
        let wanted =
            fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let found = self.interpreters.iter().find_map(|name| find(name));
        let interpreter =
            found.ok_or_else(|| format!("there is no {}", self.interpreters.join(" or ")))?;
        ensure_with(&interpreter, &target.join(self.folder), wanted.trim())
    }
}

/// Returns a program that runs: by its name, or from pyenv, which has several versions.
fn find(name: &str) -> Option<String> {
    let runs = |program: &str| {
        Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    if runs(name) {
        return Some(name.to_owned());
    }
    let version = name.strip_prefix("python")?;
    let home = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")))?;
    let versions = fs::read_dir(home.join("versions")).ok()?.flatten();
    versions
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{version}.")))
        .map(|entry| entry.path().join("bin/python").display().to_string())
        .find(|program| runs(program))
}

/// Returns the interpreter of the environment in `folder` with the packages `wanted`, one a line.
fn ensure_with(interpreter: &str, folder: &Path, wanted: &str) -> Result<PathBuf, String> {
    let python = folder.join("bin").join("python");
    let stamp = folder.join("requirements.stamp");
    // The interpreter is a link to the system's, which may have gone since.
    if fs::read_to_string(&stamp).is_ok_and(|stood| stood == wanted) && python.exists() {
        return Ok(python);
    }
    succeed(Command::new(interpreter).args(["-m", "venv", "--clear"]).arg(folder))?;
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
