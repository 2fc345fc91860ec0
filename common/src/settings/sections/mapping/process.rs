//! `process` and its keys: the long-lived processes of a job, a pool or a service.

use std::time::Duration;

use humantime::format_duration;
use serde_json::{Map, Value, json};

use super::program_env::ProgramEnv;
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;
use crate::settings::value::duration::{HOUR, SHORTEST};
use crate::settings::value::forms::count;

/// `[jobs.X] process`, with its other keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessSettings {
    /// Program and arguments, not through a shell, run in [`crate::settings::Settings::base_dir`].
    /// Never empty.
    pub command: Vec<String>,
    /// `instances`: The maximum number of processes, 1 to 1,024. Default 1.
    pub instances: usize,
    /// `start_timeout`: The time limit for a process to start, 1 ms to 1 hour. Default 10 s.
    pub start_timeout: Duration,
    /// `env` and `inherit_env`: Their environment variables.
    pub env: ProgramEnv,
}

impl ProcessSettings {
    /// Creates the settings of one process of `command`, with the defaults for the rest.
    #[must_use]
    pub fn new(command: Vec<String>) -> Self {
        let (start_timeout, env) = (Duration::from_secs(10), ProgramEnv::default());
        Self { command, instances: 1, start_timeout, env }
    }

    /// Returns its keys, as they are read, for fuzzing.
    #[doc(hidden)]
    #[must_use]
    pub fn keys(&self) -> Map<String, Value> {
        let Self { command, instances, start_timeout, env } = self;
        let length = |length: &Duration| format_duration(*length).to_string();
        let own = [
            ("process", json!(command)),
            ("instances", json!(instances)),
            ("start_timeout", json!(length(start_timeout))),
        ];
        let own = own.map(|(key, value)| (key.to_owned(), value));
        own.into_iter().chain(env.keys()).collect()
    }
}

/// Reads `process` and its keys; its keys alone are a mistake.
pub(crate) fn read(job: &mut Section<'_>) -> Option<ProcessSettings> {
    if job.origin("process").is_none() {
        for key in ["instances", "start_timeout"] {
            if job.origin(key).is_some() {
                job.wrong(
                    format!("has {key} without process"),
                    "only processes have it: remove it",
                );
            }
        }
    }
    let command = job.read("process", words);
    let instances = job.read("instances", |entry| count(entry, 1024));
    let start_timeout = job.read("start_timeout", |entry| entry.duration(SHORTEST..=HOUR));
    let default = ProcessSettings::new(command?);
    Some(ProcessSettings {
        instances: instances.unwrap_or(default.instances),
        start_timeout: start_timeout.unwrap_or(default.start_timeout),
        ..default
    })
}

/// Reads a program with its arguments.
pub(crate) fn words(entry: &Entry) -> Result<Vec<String>, SettingsError> {
    let items = entry.list("[\"python3\", \"word_count.py\"]")?;
    let words = items.iter().enumerate().map(|(index, item)| match &item.value {
        config::ValueKind::String(text) if text.contains('\0') => {
            Err(item.wrong("holds a null character", "no program can be given one: remove it"))
        }
        // An argument may be empty, the program not.
        config::ValueKind::String(text) if index > 0 => Ok(text.clone()),
        _ => item.text("write the program and each argument as text").map(str::to_owned),
    });
    words.collect()
}
