//! The settings as a user sees them: every source, every default, and the full text of every
//! message. Never touches the process's own environment and directory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml allows them in tests, but does not see that these helpers belong to some"
)]

#[path = "settings/auth.rs"]
mod auth;
#[path = "settings/documents.rs"]
mod documents;
#[path = "settings/environment.rs"]
mod environment;
#[path = "settings/files.rs"]
mod files;
#[path = "settings/gateways.rs"]
mod gateways;
#[path = "settings/jobs.rs"]
mod jobs;
#[path = "settings/mistakes.rs"]
mod mistakes;
#[path = "settings/rules.rs"]
mod rules;
#[path = "settings/schedules.rs"]
mod schedules;
#[path = "settings/services.rs"]
mod services;
#[path = "settings/sources.rs"]
mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use redcall_common::settings::{Settings, SettingsError};
use tempfile::TempDir;

/// A private directory to load settings from.
struct Place(TempDir);

impl Place {
    fn empty() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn with(file: &str, text: impl AsRef<[u8]>) -> Self {
        let place = Self::empty();
        place.write(file, text);
        place
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(file), text).unwrap();
    }

    fn dir(&self) -> &Path {
        self.0.path()
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir().join(file)
    }

    fn load(&self, flag: Option<&str>, env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let env: BTreeMap<String, String> =
            env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Settings::load_from(flag.map(Path::new), self.dir(), &env)
    }

    /// Returns the text of the error and of its help, with this directory written as `DIR`.
    fn refusal(&self, flag: Option<&str>, env: &[(&str, &str)]) -> (String, String) {
        let error = self.load(flag, env).expect_err("these settings should be refused");
        let general = |text: String| text.replace(self.dir().to_str().unwrap(), "DIR");
        (general(error.to_string()), general(error.help()))
    }
}

/// Asserts that `redcall.toml` with `text` loads.
#[track_caller]
fn good(text: &str) -> Settings {
    Place::with("redcall.toml", text).load(None, &[]).unwrap_or_else(|e| panic!("{e}"))
}

/// Asserts that `redcall.toml` with `text` is refused with exactly this text (without the file) and
/// help.
#[track_caller]
fn bad(text: &str, problem: &str, help: &str) {
    let refusal = Place::with("redcall.toml", text).refusal(None, &[]);
    assert_eq!(refusal, (format!("DIR/redcall.toml: {problem}"), help.to_owned()));
}

/// Asserts that this environment, without a file, is refused with exactly this text and help.
#[track_caller]
fn bad_env(env: &[(&str, &str)], problem: &str, help: &str) {
    let refusal = Place::empty().refusal(None, env);
    assert_eq!(refusal, (problem.to_owned(), help.to_owned()));
}
