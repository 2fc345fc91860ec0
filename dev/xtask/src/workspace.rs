//! Where the workspace is, and running programs in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use serde_json::Value;

/// The workspace that this program belongs to.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Uses the variables that cargo sets for the programs that it runs: a compiled path would be
    /// wrong after the workspace was moved.
    pub(crate) fn find() -> miette::Result<Self> {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        match package.as_deref().and_then(|package| package.ancestors().nth(2)) {
            Some(root) => Ok(Self { root: root.to_owned() }),
            None => Err(miette!(
                help = "run it as `cargo xtask …`",
                "CARGO_MANIFEST_DIR is not set, so the workspace cannot be found"
            )),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The cargo that runs us, in the workspace's root.
    pub(crate) fn cargo(&self) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.current_dir(&self.root);
        // Variables of our own cargo. Build scripts that watch them (ring's) would run again, with
        // a rebuild of all their dependents, whenever a cargo that we start and one that starts us
        // alternate.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&*name);
            }
        }
        command
    }

    /// Returns cargo's metadata of the workspace's own packages.
    pub(crate) fn metadata(&self) -> miette::Result<Value> {
        let mut command = self.cargo();
        let output = command
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .output()
            .into_diagnostic()
            .wrap_err("cargo could not be run")?;
        if !output.status.success() {
            return Err(miette!(
                help = "`cargo metadata` reads every Cargo.toml; correct the one that it names",
                "cargo metadata failed:\n{}",
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        serde_json::from_slice(&output.stdout)
            .into_diagnostic()
            .wrap_err("cargo metadata did not print JSON")
    }

    /// Returns cargo's target directory; not always `target`, the user may have set another.
    pub(crate) fn target_dir(&self) -> miette::Result<PathBuf> {
        match self.metadata()?["target_directory"].as_str() {
            Some(path) => Ok(PathBuf::from(path)),
            None => Err(miette!("cargo metadata names no target directory")),
        }
    }
}

/// Runs a command to its end with our stdin, stdout and stderr. Returns `true` if it succeeded.
pub(crate) fn run(command: &mut Command) -> miette::Result<bool> {
    let status = command
        .status()
        .into_diagnostic()
        .wrap_err_with(|| format!("{} could not be run", command.get_program().display()))?;
    Ok(status.success())
}

/// Runs a command to its end and returns its output.
pub(crate) fn output(command: &mut Command) -> miette::Result<String> {
    let name = command.get_program().display().to_string();
    let output =
        command.output().into_diagnostic().wrap_err_with(|| format!("{name} could not be run"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(miette!("{name} failed:\n{}", text.trim_end()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns `true` if a program can be run at all, tried with one harmless argument.
pub(crate) fn runs(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
}

/// The exit code of a check.
pub(crate) fn verdict(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
