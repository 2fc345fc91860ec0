//! The settings file, fitted to this machine: which one, and what runs `word_count` here.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use redcall_common::settings::{HandlerSettings, JobSettings, Settings, SettingsError};
use tokio::process::Command;

use crate::root::Root;

/// The job that a command runs.
const WORD_COUNT: &str = "word_count";
/// The handler that takes its place where the command's language is missing.
pub(crate) const BUILT_IN: &str = "word_count_builtin";
const PYTHON: &str = "python3";
/// Said once per demo or worker that has to do without.
pub(crate) const WITHOUT_PYTHON: &str = "python3 is not installed: word_count runs built in";

/// Reads the settings: the file that flag or REDCALL_SETTINGS name, else the example's own.
pub(crate) fn load(flag: Option<&Path>) -> Result<Settings, SettingsError> {
    let own = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/redcall.toml"));
    let named = env::var_os("REDCALL_SETTINGS").is_some();
    let path = flag.map(Path::to_owned).or_else(|| (!named).then(own));
    Settings::load(path.as_deref())
}

/// Whether `word_count` is mapped to Python, and there is none that runs.
///
/// Tried instead of looked for: some systems and version managers have a `python3` on PATH that
/// only says how to install one.
pub(crate) async fn lacks_python(jobs: &BTreeMap<String, JobSettings>) -> bool {
    let kind = jobs.get(WORD_COUNT).map(|job| &job.kind);
    let wanted = match kind {
        Some(HandlerSettings::Command(command)) => command.first().is_some_and(|it| it == PYTHON),
        Some(_) | None => false,
    };
    wanted && !runs(PYTHON).await
}

async fn runs(program: &str) -> bool {
    let mut trial = Command::new(program);
    trial.args(["-c", ""]).kill_on_drop(true);
    trial.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    trial.status().await.is_ok_and(|status| status.success())
}

/// Fits the mapping of `word_count`: without Python it becomes a compiled-in handler; a command
/// is told the directory that it serves.
pub(crate) fn fit(settings: &mut Settings, root: &Root, without_python: bool) {
    let Some(job) = settings.jobs.get_mut(WORD_COUNT) else { return };
    if without_python {
        job.kind = HandlerSettings::Compiled(BUILT_IN.to_owned());
    }
    if let HandlerSettings::Command(command) = &mut job.kind {
        command.push(root.dir().to_owned());
    }
}
