//! The handler of a job: `handler`, `command`, `process`, `pool` or `http`, with their own keys.

use std::collections::BTreeMap;
use std::fmt;

use super::process::{self, ProcessSettings, words};
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

/// The keys of which each job has exactly one.
pub(crate) const KINDS: [&str; 5] = ["handler", "command", "process", "pool", "http"];
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

/// Reads the handler of `job`; `None` if a mistake was reported or it is missing.
pub(crate) fn read(job: &mut Section<'_>) -> Option<HandlerSettings> {
    let handler = job.read("handler", compiled);
    let command = job.read("command", words).map(HandlerSettings::Command);
    let process = process::read(job).map(HandlerSettings::Process);
    let pool = job.read("pool", queue).map(HandlerSettings::Pool);
    let http = http(job).map(HandlerSettings::Http);
    handler.or(command).or(process).or(pool).or(http)
}

fn compiled(entry: &Entry) -> Result<HandlerSettings, SettingsError> {
    name(entry).map(HandlerSettings::Compiled)
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
