//! The keys of jobs that the foreign side of a door runs.

use std::collections::HashSet;

use super::inward::job;
use crate::settings::sections::worker::queues;
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;
use crate::settings::value::forms::count;

/// The keys of the jobs that a door's foreign side runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutwardSettings {
    /// `serves`: The names of jobs that the foreign side runs. Default none.
    pub serves: Vec<String>,
    /// `queues`: The queues from which those are leased, highest priority first. Default
    /// `default`.
    pub queues: Vec<String>,
    /// `concurrency`: The number of jobs that run at the same time, 1 to 65,536; for `pm` in each
    /// direction, for `rq` also of jobs taken from rq. Default 64.
    pub concurrency: usize,
}

impl Default for OutwardSettings {
    fn default() -> Self {
        Self { serves: Vec::new(), queues: vec!["default".to_owned()], concurrency: 64 }
    }
}

/// Reads the keys.
pub(crate) fn read(door: &mut Section<'_>) -> OutwardSettings {
    let default = OutwardSettings::default();
    if door.origin("queues").is_some() && door.origin("serves").is_none() {
        door.wrong("has queues without serves", "add serves = [\"JOB\"], or remove queues");
    }
    OutwardSettings {
        serves: door.read("serves", jobs).unwrap_or_default(),
        queues: door.read("queues", queues).unwrap_or(default.queues),
        concurrency: door
            .read("concurrency", |entry| count(entry, 65_536))
            .unwrap_or(default.concurrency),
    }
}

fn jobs(entry: &Entry) -> Result<Vec<String>, SettingsError> {
    let mut seen = HashSet::new();
    let items = entry.list("[\"resize\", \"convert\"]")?;
    let read = |item: &Entry| {
        let name = job(item)?;
        if seen.insert(name.clone()) {
            return Ok(name);
        }
        Err(item.wrong(format!("names the job `{name}` again"), "name each job once"))
    };
    items.iter().map(read).collect()
}
