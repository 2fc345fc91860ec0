//! The competitors of Redcall, installed from registries into `target/competitors`.
//!
//! Each folder of `dev/bench/competitors` is an adapter; its files determine its registry:
//!
//! | file | from | needs |
//! |---|---|---|
//! | `requirements.txt` | PyPI | python3 with venv |
//! | `package.json` | npm | node and npm |
//! | `Cargo.toml` with `src/main.rs` | crates.io | nothing |
//!
//! NATS needs a server besides, which the distribution has. An installed adapter is a folder with a
//! script `run` in it, and a script `server` where it needs one; `redcall-bench` looks for no more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use redcall_store::embedded::cache_dir;

use crate::programs::apt;
use crate::programs::draft::{Draft, write_program};
use crate::workspace::{Workspace, run as succeeds, runs};

/// Of the adapter that needs a server of its own.
const NATS: &str = "nats";
const NATS_SERVER: &str = "nats-server";

/// Where the adapters are, and where they are installed.
pub(crate) struct Competitors<'a> {
    workspace: &'a Workspace,
    adapters: PathBuf,
    installed: PathBuf,
}

impl<'a> Competitors<'a> {
    pub(crate) fn find(workspace: &'a Workspace) -> miette::Result<Self> {
        Ok(Self {
            workspace,
            adapters: workspace.root().join("dev/bench/competitors"),
            installed: workspace.target_dir()?.join("competitors"),
        })
    }

    pub(crate) fn installed(&self) -> &Path {
        &self.installed
    }

    /// Removes installations whose adapters have changed since: the measured code is that of the
    /// tree.
    pub(crate) fn forget_stale(&self) -> miette::Result<()> {
        for name in self.names()? {
            let Stamp { path, text } = self.stamp(&name)?;
            let run = self.installed.join(&name).join("run");
            if run.exists() && fs::read_to_string(path).ok() != Some(text) {
                eprintln!("{name} has changed since it was installed");
                fs::remove_file(run).into_diagnostic()?;
            }
        }
        Ok(())
    }

    /// Installs those that are named, or all. One that cannot be is named with the reason, and the
    /// others are installed all the same.
    pub(crate) fn install(&self, named: &[&str]) -> miette::Result<()> {
        let names = self.names()?;
        let chosen: Vec<_> = names.iter().filter(|name| named.contains(&name.as_str())).collect();
        let chosen = if chosen.is_empty() { names.iter().collect() } else { chosen };
        for name in chosen {
            eprintln!("Installing {name} into {} …", self.installed.display());
            if let Err(error) = self.install_one(name) {
                eprintln!("{name} cannot be installed: {error:?}");
            }
        }
        Ok(())
    }

    fn install_one(&self, name: &str) -> miette::Result<()> {
        let (source, folder) = (self.adapters.join(name), self.installed.join(name));
        fs::create_dir_all(&folder).into_diagnostic()?;
        if name == NATS {
            let server = nats_server()?;
            let text = format!("#!/bin/sh\nexec {} \"$@\"\n", quoted(&server));
            write_program(&folder.join("server"), &text).into_diagnostic()?;
        }
        let command = if source.join("requirements.txt").exists() {
            python(&source, &folder)?
        } else if source.join("package.json").exists() {
            node(&source, &folder)?
        } else {
            self.rust(name)?
        };
        let run = format!("#!/bin/sh\nexec {command} \"$@\"\n");
        write_program(&folder.join("run"), &run).into_diagnostic()?;
        let Stamp { path, text } = self.stamp(name)?;
        // Last: an incomplete installation is repeated.
        fs::write(path, text).into_diagnostic()
    }

    fn rust(&self, name: &str) -> miette::Result<String> {
        let target = self.installed.join("cargo");
        let package = format!("redcall-bench-{name}");
        let mut build = self.workspace.cargo();
        build.args(["build", "--release", "--quiet", "--package", &package]);
        build.arg("--manifest-path").arg(self.adapters.join("Cargo.toml"));
        does(build.arg("--target-dir").arg(&target))?;
        Ok(quoted(&target.join("release").join(package)))
    }

    /// Returns the folders that are adapters; a shared folder has no program.
    fn names(&self) -> miette::Result<Vec<String>> {
        let programs = ["adapter.py", "adapter.cjs", "src/main.rs"];
        let folders = fs::read_dir(&self.adapters).into_diagnostic()?.flatten();
        let adapters = folders
            .filter(|folder| programs.iter().any(|program| folder.path().join(program).exists()));
        let mut names: Vec<_> =
            adapters.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    }

    /// All that an adapter was made from, and where that is noted.
    fn stamp(&self, name: &str) -> miette::Result<Stamp> {
        let source = self.adapters.join(name);
        let files = [
            source.join("requirements.txt"),
            source.join("package.json"),
            source.join("adapter.py"),
            source.join("adapter.cjs"),
            source.join("Cargo.toml"),
            source.join("src/main.rs"),
            self.adapters.join("load.py"),
            self.adapters.join("Cargo.toml"),
            self.adapters.join("closed-loop/src/lib.rs"),
        ];
        // Each kind has only some of them.
        let text = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
        Ok(Stamp { path: self.installed.join(name).join("stamp"), text })
    }
}

struct Stamp {
    path: PathBuf,
    text: String,
}

/// Creates a virtual environment, in which pip installs only the missing packages.
fn python(source: &Path, folder: &Path) -> miette::Result<String> {
    let venv = folder.join("venv");
    let program = venv.join("bin/python");
    if !program.exists() {
        does(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    does(Command::new(&program).args(install).arg(source.join("requirements.txt")))?;
    // -B: no compiled copies among the sources.
    Ok(format!("{} -B {}", quoted(&program), quoted(&source.join("adapter.py"))))
}

fn node(source: &Path, folder: &Path) -> miette::Result<String> {
    if !runs("node", "--version") || !runs("npm", "--version") {
        return Err(miette!(
            help = "install Node (Debian: apt install nodejs npm)",
            "no node, or no npm"
        ));
    }
    fs::copy(source.join("package.json"), folder.join("package.json")).into_diagnostic()?;
    let install = ["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"];
    does(Command::new("npm").args(install).current_dir(folder))?;
    let modules = quoted(&folder.join("node_modules"));
    Ok(format!("env NODE_PATH={modules} node {}", quoted(&source.join("adapter.cjs"))))
}

/// The machine's own, or the distribution's package unpacked into the user's cache.
fn nats_server() -> miette::Result<PathBuf> {
    if runs(NATS_SERVER, "--version") {
        return Ok(NATS_SERVER.into());
    }
    let none = || {
        miette!(
            help = "install it (Debian: apt install nats-server; else from nats.io)",
            "there is no {NATS_SERVER}"
        )
    };
    let cache = cache_dir().ok_or_else(none)?;
    let program = Path::new("unpacked/usr/sbin").join(NATS_SERVER);
    let there = cache.join(NATS_SERVER).join(&program);
    if there.exists() {
        return Ok(there);
    }
    if !apt::is_here() {
        return Err(none());
    }
    let draft = Draft::create(&cache)?;
    apt::unpack(&draft.path, &apt::NATS).wrap_err_with(none)?;
    draft.finish(&cache.join(NATS_SERVER), &program.to_string_lossy())
}

fn does(command: &mut Command) -> miette::Result<()> {
    match succeeds(command)? {
        true => Ok(()),
        false => Err(miette!("{command:?} failed")),
    }
}

/// For a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
