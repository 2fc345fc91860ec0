//! The settings file, adapted to this machine: which file, and the handler of `word_count`.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use redcall_common::settings::{HandlerSettings, JobSettings, Settings, SettingsError};
use tokio::process::Command;

use crate::root::Root;

/// The job that runs a command.
const WORD_COUNT: &str = "word_count";
/// The handler that replaces it where Python is missing.
pub(crate) const BUILT_IN: &str = "word_count_builtin";
const PYTHON: &str = "python3";
/// Logged once per demo or worker without Python.
pub(crate) const WITHOUT_PYTHON: &str = "python3 is not installed: word_count runs built in";

/// Reads the settings: the file of the flag or of REDCALL_SETTINGS, else the example's own.
pub(crate) fn load(flag: Option<&Path>) -> Result<Settings, SettingsError> {
    let own = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/redcall.toml"));
    let named = env::var_os("REDCALL_SETTINGS").is_some();
    let path = flag.map(Path::to_owned).or_else(|| (!named).then(own));
    Settings::load(path.as_deref())
}

/// Returns `true` if `word_count` is mapped to Python and Python does not run.
///
/// Python is started, not searched: on some systems, `python3` on PATH only prints how to install
/// it.
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

/// Adapts the mapping of `word_count`: without Python it becomes a compiled-in handler; a command
/// gets the served directory as argument.
pub(crate) fn fit(settings: &mut Settings, root: &Root, without_python: bool) {
    let Some(job) = settings.jobs.get_mut(WORD_COUNT) else { return };
    if without_python {
        job.kind = HandlerSettings::Compiled(BUILT_IN.to_owned());
    }
    if let HandlerSettings::Command(command) = &mut job.kind {
        command.push(root.dir().to_owned());
    }
}
