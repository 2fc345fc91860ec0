//! The keys of `protocol = "rq"`: python-rpc on rq.

use std::collections::HashSet;
use std::time::Duration;

use super::listening::{self, text};
use super::outward::OutwardSettings;
use crate::settings::sections::auth::Secret;
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;
use crate::settings::value::duration::YEAR;
use crate::settings::value::url;

/// `protocol = "rq"`: python-rpc on rq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RqSettings {
    /// The address of rq's Redis; may contain a password. Default `redis.url`.
    pub url: Option<Secret>,
    /// The rq queues whose jobs are taken, highest priority first. Default none.
    pub take: Vec<String>,
    /// The function that rq's jobs name. Default `rpc.python_rq_backend.dispatch`.
    pub function: String,
    /// The answer to a caller whose job fails. Default `answer`.
    pub errors: RqErrors,
    /// The rq queue of the jobs in `serves`. Default `default`.
    pub to: String,
    /// How long rq keeps the record of a job that has ended, 1 s to 1 year. Default 500 s.
    pub result_ttl: Duration,
}

/// The answer to a caller whose job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RqErrors {
    /// `errors = "answer"`: The caller gets `{"error": {"code", "message"}}`.
    #[default]
    Answer,
    /// `errors = "silent"`: As python-rpc itself: no answer.
    Silent,
}

const ERRORS: [(&str, RqErrors); 2] = [("answer", RqErrors::Answer), ("silent", RqErrors::Silent)];

impl Default for RqSettings {
    fn default() -> Self {
        Self {
            url: None,
            take: Vec::new(),
            function: "rpc.python_rq_backend.dispatch".to_owned(),
            errors: RqErrors::default(),
            to: "default".to_owned(),
            result_ttl: Duration::from_secs(500),
        }
    }
}

/// Reads the keys.
pub(crate) fn read(door: &mut Section<'_>, outward: &OutwardSettings) -> Option<RqSettings> {
    let default = RqSettings::default();
    let takes = door.origin("take").is_some();
    let seconds = Duration::from_secs(1)..=YEAR;
    if !takes && outward.serves.is_empty() {
        door.wrong(
            "has neither take nor serves",
            "add take = [\"default\"] for rq callers, or serves = [\"JOB\"] for rq workers",
        );
    }
    listening::without_tls(door, "remove tls, and write url = \"rediss://HOST:PORT\"");
    Some(RqSettings {
        url: door.read("url", address),
        take: door.read("take", queues).unwrap_or_default(),
        function: door.read("function", text).unwrap_or(default.function),
        errors: door.read("errors", |entry| entry.choice(&ERRORS)).unwrap_or_default(),
        to: door.read("to", rq_queue).unwrap_or(default.to),
        result_ttl: door
            .read("result_ttl", |entry| entry.duration(seconds))
            .unwrap_or(default.result_ttl),
    })
}

fn address(entry: &Entry) -> Result<Secret, SettingsError> {
    const HELP: &str = "write the address of rq's Redis, such as \"redis://127.0.0.1:6379/0\"";
    let text = entry.text(HELP)?;
    match url::problem(text) {
        Some(problem) => Err(entry.wrong(problem, HELP)),
        None if text == url::EMBEDDED => Err(entry.wrong("names no server", HELP)),
        None => Ok(Secret::new(text)),
    }
}

fn rq_queue(entry: &Entry) -> Result<String, SettingsError> {
    let is_name = |text: &str| text.len() <= 256 && !text.chars().any(char::is_control);
    entry.name(is_name, "the name of an rq queue, such as \"default\"")
}

fn queues(entry: &Entry) -> Result<Vec<String>, SettingsError> {
    let mut seen = HashSet::new();
    let items = entry.list("[\"high\", \"default\", \"low\"]")?;
    let read = |item: &Entry| {
        let name = rq_queue(item)?;
        if seen.insert(name.clone()) {
            return Ok(name);
        }
        Err(item.wrong(format!("names the queue `{name}` again"), "name each queue once"))
    };
    items.iter().map(read).collect()
}
