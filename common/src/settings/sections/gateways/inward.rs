//! The keys of calls that come in through a door.

use std::collections::BTreeMap;

use config::Value;

use crate::rules::name::{is_id, is_job_name};
use crate::settings::sections::auth::{self, AuthSettings};
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;
use crate::settings::value::forms::queue;

/// The keys of a door's calls that come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InwardSettings {
    /// `queue`: The queue of calls whose job has no `queue` in `[jobs]`. Default `default`; for
    /// `zmtp` `device`.
    pub queue: Option<String>,
    /// `names`: The job of each foreign name. Default none.
    pub names: BTreeMap<String, String>,
    /// `prefix`: The text in front of a foreign name that has no entry in `names`. Default empty.
    pub prefix: String,
    /// `jobs`: The jobs that may be called: names, or prefixes of names followed by `*`. Checked
    /// after naming. Default `*`: all.
    pub jobs: Vec<String>,
    /// `sign_with`: The key of `[auth.keys]` that signs the requests of this door. Default
    /// `auth.sign_with`.
    pub sign_with: Option<String>,
}

impl Default for InwardSettings {
    fn default() -> Self {
        Self {
            queue: None,
            names: BTreeMap::new(),
            prefix: String::new(),
            jobs: vec!["*".to_owned()],
            sign_with: None,
        }
    }
}

/// Reads the keys of a protocol whose callers name jobs.
pub(crate) fn named(door: &mut Section<'_>, auth: Option<&AuthSettings>) -> InwardSettings {
    let names = door.table("names", "names = { add = \"math.add\" }");
    let names = names.map(jobs_by_text).unwrap_or_default();
    let prefix = door.read("prefix", prefix).unwrap_or_default();
    InwardSettings { names, prefix, ..read(door, auth) }
}

/// Reads the keys of a protocol whose jobs the settings name.
pub(crate) fn read(door: &mut Section<'_>, auth: Option<&AuthSettings>) -> InwardSettings {
    let default = InwardSettings::default();
    InwardSettings {
        queue: door.read("queue", queue),
        jobs: door.read("jobs", auth::patterns).unwrap_or(default.jobs),
        ..signed(door, auth)
    }
}

/// Reads the one key of a protocol that calls nothing but a service.
pub(crate) fn signed(door: &mut Section<'_>, auth: Option<&AuthSettings>) -> InwardSettings {
    let sign_with = door.read("sign_with", |entry| {
        let name = entry.name(is_id, auth::NAME)?;
        let keys = auth.map(|auth| &auth.keys);
        if keys.is_some_and(|keys| keys.contains_key(&name)) {
            return Ok(name);
        }
        let known: Vec<&str> =
            keys.into_iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
        let help = match known.as_slice() {
            [] => "add [auth.keys.NAME], or remove sign_with".to_owned(),
            known => format!("write the name of one of auth.keys: {}", known.join(", ")),
        };
        Err(entry.wrong("is not the name of a key in auth.keys", help))
    });
    InwardSettings { sign_with, ..InwardSettings::default() }
}

/// Reads a table of texts, each the name of a job.
pub(crate) fn jobs_by_text(mut table: Section<'_>) -> BTreeMap<String, String> {
    let values = table.take_all().into_iter();
    let read = |(name, value): (String, Value)| {
        let job = table.convert(&name, value, job)?;
        Some((name, job))
    };
    values.filter_map(read).collect()
}

/// Reads the name of a job.
pub(crate) fn job(entry: &Entry) -> Result<String, SettingsError> {
    entry.name(is_job_name, "a job's name: 1 to 128 characters without spaces")
}

/// Reads the beginning of a job's name.
pub(crate) fn prefix(entry: &Entry) -> Result<String, SettingsError> {
    entry.name(is_job_name, "the beginning of a job's name, such as \"python.\"")
}
