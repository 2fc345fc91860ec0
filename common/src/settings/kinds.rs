//! The handler of a job: `handler`, `command`, `process`, `pool` or `http`, with their own keys.

use std::collections::BTreeMap;

use super::duration::{HOUR, SHORTEST};
use super::entry::Entry;
use super::error::SettingsError;
use super::forms::{count, queue};
use super::parts::{HandlerSettings, HttpSettings, ProcessSettings};
use super::section::Section;
use crate::name::is_job_name;

/// The keys of which each job has exactly one.
pub(super) const KINDS: [&str; 5] = ["handler", "command", "process", "pool", "http"];
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

/// Reads the handler of `job`; `None` if a mistake was reported or it is missing.
pub(super) fn read(job: &mut Section<'_>) -> Option<HandlerSettings> {
    let handler = job.read("handler", compiled);
    let command = job.read("command", words).map(HandlerSettings::Command);
    let process = process(job).map(HandlerSettings::Process);
    let pool = job.read("pool", queue).map(HandlerSettings::Pool);
    let http = http(job).map(HandlerSettings::Http);
    handler.or(command).or(process).or(pool).or(http)
}

fn compiled(entry: &Entry) -> Result<HandlerSettings, SettingsError> {
    name(entry).map(HandlerSettings::Compiled)
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
