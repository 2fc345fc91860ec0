//! `[client]`: the timeouts of callers.

use std::time::Duration;

use crate::settings::source::section::Section;
use crate::settings::value::duration::{SHORTEST, YEAR};

/// `[client]`: the timeouts of callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// The timeout of a waited call from enqueue to answer, 1 ms to 1 year. Default 30 s. A single
    /// call may override it.
    pub timeout: Duration,
    /// How long a waited call tolerates a queue without a live worker before it fails with
    /// `no_workers`, 0 (at once) to 1 year. Default 5 s.
    pub no_workers_grace: Duration,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), no_workers_grace: Duration::from_secs(5) }
    }
}

/// Reads the `[client]` table.
pub(crate) fn read(mut section: Section<'_>) -> ClientSettings {
    let default = ClientSettings::default();
    let settings = ClientSettings {
        timeout: section
            .read("timeout", |entry| entry.duration(SHORTEST..=YEAR))
            .unwrap_or(default.timeout),
        no_workers_grace: section
            .read("no_workers_grace", |entry| entry.duration(Duration::ZERO..=YEAR))
            .unwrap_or(default.no_workers_grace),
    };
    section.finish();
    settings
}
