//! The handler of a job: `handler`, `command`, `process`, `pool` or `http`, with their own keys.
//!
//! Everything that differs by kind before a worker runs is here; a new kind has a variant, a row in
//! [`KINDS`], and an arm in the methods below. The worker makes the handlers
//! (`worker/src/handler/mod.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use humantime::format_duration;
use serde_json::{Map, Value, json};

use super::duration::{HOUR, SHORTEST};
use super::entry::Entry;
use super::error::SettingsError;
use super::forms::{count, queue};
use super::program_env::ProgramEnv;
use super::section::Section;
use crate::name::is_job_name;

/// The handler of a job. Each job has exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerSettings {
    /// `handler = "NAME"`: Rust compiled into the worker, `builtin:…` or a registered name.
    Compiled(String),
    /// `command = ["PROGRAM", "ARGUMENT", …]`: One process per job, not through a shell, run in
    /// [`super::Settings::base_dir`]. Never empty.
    Command(Vec<String>),
    /// `process = ["PROGRAM", "ARGUMENT", …]`: A pool of long-lived processes.
    Process(ProcessSettings),
    /// `pool = "NAME"`: The processes of a `[pools.NAME]`, shared with other jobs.
    Pool(String),
    /// `http = { method = "POST", url = "…" }`: A request to a server.
    Http(HttpSettings),
}

/// `[jobs.X] http`.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// GET, HEAD, POST, PUT, PATCH or DELETE. Default POST.
    pub method: String,
    /// `http://…` or `https://…`.
    pub url: String,
    /// The headers of each request. Default none, except the content type.
    pub headers: BTreeMap<String, String>,
}

impl fmt::Debug for HttpSettings {
    /// Hides values that may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&String> = self.headers.keys().collect();
        let mut shown = f.debug_struct("HttpSettings");
        shown.field("method", &self.method).field("headers", &headers).finish_non_exhaustive()
    }
}

/// `[jobs.X] process`, with its other keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessSettings {
    /// Program and arguments, not through a shell, run in [`super::Settings::base_dir`]. Never
    /// empty.
    pub command: Vec<String>,
    /// `instances`: The maximum number of processes, 1 to 1,024. Default 1.
    pub instances: usize,
    /// `start_timeout`: The time limit for a process to start, 1 ms to 1 hour. Default 10 s.
    pub start_timeout: Duration,
    /// `env` and `inherit_env`: Their environment variables.
    pub env: ProgramEnv,
}

/// Where the handler of a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerPlace<'a> {
    /// In the worker's program.
    Worker,
    /// In a program on the worker's machine: its words.
    Program(&'a [String]),
    /// Elsewhere, as described. Only a call shows whether it exists.
    Elsewhere(String),
}

impl HandlerSettings {
    /// The keys of all kinds in `[jobs.NAME]`, of which each job has exactly one.
    pub const KEYS: [&'static str; KINDS.len()] = {
        let mut keys = [""; KINDS.len()];
        let mut index = 0;
        while index < keys.len() {
            keys[index] = KINDS[index].key;
            index += 1;
        }
        keys
    };

    /// Returns its key in `[jobs.NAME]`.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Compiled(_) => "handler",
            Self::Command(_) => "command",
            Self::Process(_) => "process",
            Self::Pool(_) => "pool",
            Self::Http(_) => "http",
        }
    }

    /// Returns where it is.
    #[must_use]
    pub fn place(&self) -> HandlerPlace<'_> {
        match self {
            Self::Compiled(_) => HandlerPlace::Worker,
            Self::Command(command) => HandlerPlace::Program(command),
            Self::Process(process) => HandlerPlace::Program(&process.command),
            Self::Pool(pool) => HandlerPlace::Elsewhere(format!("pool {pool}")),
            Self::Http(http) => HandlerPlace::Elsewhere(format!("{} by HTTP", http.method)),
        }
    }

    /// Returns the name of its compiled-in handler, if it has one.
    #[must_use]
    pub fn compiled(&self) -> Option<&str> {
        if let Self::Compiled(name) = self { Some(name) } else { None }
    }

    /// Returns the name of its pool, if it shares one.
    #[must_use]
    pub fn pool(&self) -> Option<&str> {
        if let Self::Pool(name) = self { Some(name) } else { None }
    }

    /// Returns its keys in `[jobs.NAME]`, as they are read. They may contain secrets.
    #[must_use]
    pub fn keys(&self) -> Map<String, Value> {
        let value = match self {
            Self::Process(process) => return process.keys(),
            Self::Compiled(name) | Self::Pool(name) => json!(name),
            Self::Command(command) => json!(command),
            Self::Http(HttpSettings { method, url, headers }) => {
                json!({"method": method, "url": url, "headers": headers})
            }
        };
        Map::from_iter([(self.key().to_owned(), value)])
    }

    /// Returns the processes' number, which bounds the runs of its job by default.
    pub(super) fn instances(&self) -> Option<usize> {
        if let Self::Process(process) = self { Some(process.instances) } else { None }
    }

    /// Takes the environment of its program, if it keeps that itself.
    pub(super) fn take_env(&mut self, env: &mut ProgramEnv) {
        if let Self::Process(process) = self {
            process.env = std::mem::take(env);
        }
    }
}

impl ProcessSettings {
    /// Creates the settings of one process of `command`, with the defaults for the rest.
    #[must_use]
    pub fn new(command: Vec<String>) -> Self {
        let (start_timeout, env) = (Duration::from_secs(10), ProgramEnv::default());
        Self { command, instances: 1, start_timeout, env }
    }

    /// Returns its keys, as they are read.
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

/// A kind of handler, as it is read.
struct Kind {
    /// The key that a job of this kind has.
    key: &'static str,
    /// `true` if it has a program, which gets an environment.
    runs_program: bool,
    /// Reads its keys; `None` if they are missing, or a mistake was reported.
    read: fn(&mut Section<'_>) -> Option<HandlerSettings>,
}

/// Each job has exactly one.
const KINDS: [Kind; 5] = [
    Kind {
        key: "handler",
        runs_program: false,
        read: |job| job.read("handler", name).map(HandlerSettings::Compiled),
    },
    Kind {
        key: "command",
        runs_program: true,
        read: |job| job.read("command", words).map(HandlerSettings::Command),
    },
    Kind {
        key: "process",
        runs_program: true,
        read: |job| process(job).map(HandlerSettings::Process),
    },
    Kind {
        key: "pool",
        runs_program: false,
        read: |job| job.read("pool", queue).map(HandlerSettings::Pool),
    },
    Kind { key: "http", runs_program: false, read: |job| http(job).map(HandlerSettings::Http) },
];

pub(super) const EXAMPLE: &str =
    "handler = \"builtin:echo\" or command = [\"python3\", \"word_count.py\"]";

const METHODS: [(&str, &str); 6] = [
    ("GET", "GET"),
    ("HEAD", "HEAD"),
    ("POST", "POST"),
    ("PUT", "PUT"),
    ("PATCH", "PATCH"),
    ("DELETE", "DELETE"),
];

/// The keys of kinds that a job has.
pub(super) struct Given(Vec<&'static Kind>);

impl Given {
    pub(super) fn of(job: &Section<'_>) -> Self {
        Self(KINDS.iter().filter(|kind| job.origin(kind.key).is_some()).collect())
    }

    pub(super) fn keys(&self) -> Vec<&'static str> {
        self.0.iter().map(|kind| kind.key).collect()
    }

    pub(super) fn runs_program(&self) -> bool {
        self.0.iter().any(|kind| kind.runs_program)
    }
}

/// Reads the handler of `job`; `None` if a mistake was reported or it is missing.
pub(super) fn read(job: &mut Section<'_>) -> Option<HandlerSettings> {
    // All are read, so that each mistake is reported.
    let read = KINDS.map(|kind| (kind.read)(job));
    read.into_iter().flatten().next()
}

/// Reads the name of a compiled-in handler.
pub(super) fn name(entry: &Entry) -> Result<String, SettingsError> {
    entry.name(is_job_name, "the name of a compiled-in handler, such as \"builtin:echo\"")
}

/// Reads `process` and its keys; its keys alone are a mistake.
pub(super) fn process(job: &mut Section<'_>) -> Option<ProcessSettings> {
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

/// Reports a request without a URL.
fn http(job: &mut Section<'_>) -> Option<HttpSettings> {
    let example = "http = { method = \"POST\", url = \"http://127.0.0.1:9000/geocode\" }";
    let mut http = job.table("http", example)?;
    let has_url = http.origin("url").is_some();
    let method = http.read("method", |entry| entry.choice(&METHODS));
    let url = http.read("url", |entry| {
        entry.name(
            |url| url.starts_with("http://") || url.starts_with("https://"),
            "a URL such as \"http://127.0.0.1:9000/geocode\"",
        )
    });
    let headers = headers(&mut http);
    if !has_url && !http.has_unread() {
        http.wrong("has no url", format!("write {example}"));
    }
    http.finish();
    Some(HttpSettings { method: method.unwrap_or("POST").to_owned(), url: url?, headers })
}

fn headers(http: &mut Section<'_>) -> BTreeMap<String, String> {
    let Some(mut table) = http.table("headers", "headers = { Authorization = \"Bearer …\" }")
    else {
        return BTreeMap::new();
    };
    let mut headers = BTreeMap::new();
    for (name, value) in table.take_all() {
        let text = |entry: &Entry| entry.text("write text").map(str::to_owned);
        let value = table.convert(&name, value, text);
        headers.extend(value.map(|value| (name, value)));
    }
    headers
}

fn words(entry: &Entry) -> Result<Vec<String>, SettingsError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_reference() {
        assert_eq!(HandlerSettings::KEYS, ["handler", "command", "process", "pool", "http"]);
    }
}
