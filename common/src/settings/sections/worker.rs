//! `[worker]`: a worker's queues and capacity.

use std::collections::HashSet;
use std::time::Duration;

use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;
use crate::settings::value::duration::{DAY, HOUR, YEAR};
use crate::settings::value::forms::{count, queue};

/// `[worker]`: a worker's queues and capacity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSettings {
    /// The name in lists of workers, 1 to 64 characters of `[A-Za-z0-9_.-]`. Default none: the
    /// host name.
    pub name: Option<String>,
    /// The queues to poll, highest priority first; at least one, no duplicates. Default `high`,
    /// `default`, `low`.
    pub queues: Vec<String>,
    /// The number of jobs that run at the same time in this worker, 1 to 65,536. Default 64.
    pub concurrency: usize,
    /// The lease: how long a silent worker keeps its requests before others take them over, 100 ms
    /// to 1 hour. Renewed every third of it. Default 5 s.
    pub lease: Duration,
    /// How long running jobs may continue after a stop was requested, 0 to 1 year; the rest then
    /// returns to its queue. Default 25 s.
    pub drain_timeout: Duration,
    /// How long a handler may continue after its cancel token fired, and a command after its
    /// SIGTERM, 0 to 1 hour. Default 5 s.
    pub cancel_grace: Duration,
    /// How long the end of a call with an idempotency key is kept, 1 s to 1 year. Default 24 h.
    pub idempotency_ttl: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            name: None,
            queues: ["high", "default", "low"].map(str::to_owned).into(),
            concurrency: 64,
            lease: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(25),
            cancel_grace: Duration::from_secs(5),
            idempotency_ttl: DAY,
        }
    }
}

/// Reads the `[worker]` table.
pub(crate) fn read(mut section: Section<'_>) -> WorkerSettings {
    let default = WorkerSettings::default();
    let settings = WorkerSettings {
        name: section.read("name", queue),
        queues: section.read("queues", queues).unwrap_or(default.queues),
        concurrency: section
            .read("concurrency", |entry| count(entry, 65_536))
            .unwrap_or(default.concurrency),
        lease: section
            .read("lease", |entry| entry.duration(Duration::from_millis(100)..=HOUR))
            .unwrap_or(default.lease),
        drain_timeout: section
            .read("drain_timeout", |entry| entry.duration(Duration::ZERO..=YEAR))
            .unwrap_or(default.drain_timeout),
        cancel_grace: section
            .read("cancel_grace", |entry| entry.duration(Duration::ZERO..=HOUR))
            .unwrap_or(default.cancel_grace),
        idempotency_ttl: section
            .read("idempotency_ttl", |entry| entry.duration(Duration::from_secs(1)..=YEAR))
            .unwrap_or(default.idempotency_ttl),
    };
    section.finish();
    settings
}

/// Reads queues, without duplicates.
pub(crate) fn queues(entry: &Entry) -> Result<Vec<String>, SettingsError> {
    let mut seen = HashSet::new();
    let items = entry.list("[\"high\", \"default\", \"low\"]")?;
    items
        .iter()
        .map(|item| {
            let name = queue(item)?;
            if seen.insert(name.clone()) {
                return Ok(name);
            }
            Err(item.wrong(format!("names the queue `{name}` again"), "name each queue once"))
        })
        .collect()
}
