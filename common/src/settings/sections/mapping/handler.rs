//! The handler of a job: `handler`, `command`, `process`, `pool` or `http`, with their own keys.
//!
//! Everything that differs by kind before a worker runs is here; a new kind has a variant, a row in
//! [`KINDS`], and an arm in the methods below. The worker makes the handlers
//! (`worker/src/handler/mod.rs`).

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use super::process::{self, ProcessSettings, words};
use super::program_env::ProgramEnv;
use crate::rules::name::is_job_name;
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;
use crate::settings::value::forms::queue;

/// The handler of a job. Each job has exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerSettings {
    /// `handler = "NAME"`: Rust compiled into the worker, `builtin:…` or a registered name.
    Compiled(String),
    /// `command = ["PROGRAM", "ARGUMENT", …]`: One process per job, not through a shell, run in
    /// [`crate::settings::Settings::base_dir`]. Never empty.
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

    /// Returns its keys in `[jobs.NAME]`, as they are read, for fuzzing. They may contain secrets.
    #[doc(hidden)]
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
    pub(crate) fn instances(&self) -> Option<usize> {
        if let Self::Process(process) = self { Some(process.instances) } else { None }
    }

    /// Takes the environment of its program, if it keeps that itself.
    pub(crate) fn take_env(&mut self, env: &mut ProgramEnv) {
        if let Self::Process(process) = self {
            process.env = std::mem::take(env);
        }
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
        read: |job| process::read(job).map(HandlerSettings::Process),
    },
    Kind {
        key: "pool",
        runs_program: false,
        read: |job| job.read("pool", queue).map(HandlerSettings::Pool),
    },
    Kind { key: "http", runs_program: false, read: |job| http(job).map(HandlerSettings::Http) },
];

pub(crate) const EXAMPLE: &str =
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
pub(crate) struct Given(Vec<&'static Kind>);

impl Given {
    pub(crate) fn of(job: &Section<'_>) -> Self {
        Self(KINDS.iter().filter(|kind| job.origin(kind.key).is_some()).collect())
    }

    pub(crate) fn keys(&self) -> Vec<&'static str> {
        self.0.iter().map(|kind| kind.key).collect()
    }

    pub(crate) fn runs_program(&self) -> bool {
        self.0.iter().any(|kind| kind.runs_program)
    }
}

/// Reads the handler of `job`; `None` if a mistake was reported or it is missing.
pub(crate) fn read(job: &mut Section<'_>) -> Option<HandlerSettings> {
    // All are read, so that each mistake is reported.
    let read = KINDS.map(|kind| (kind.read)(job));
    read.into_iter().flatten().next()
}

/// Reads the name of a compiled-in handler.
pub(crate) fn name(entry: &Entry) -> Result<String, SettingsError> {
    entry.name(is_job_name, "the name of a compiled-in handler, such as \"builtin:echo\"")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_reference() {
        assert_eq!(HandlerSettings::KEYS, ["handler", "command", "process", "pool", "http"]);
    }
}
