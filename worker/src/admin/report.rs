//! What `/ready` says.

use std::collections::BTreeMap;
use std::time::Duration;

use redcall_common::time::millis;
use serde::Serialize;

/// Whether a worker consumes, and what is wrong if it does not. Goes out as JSON.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Whether there is no reason why not.
    ready: bool,
    reasons: Vec<String>,
    queues: BTreeMap<String, Seen>,
    /// How long the last probe took from its start to its settlement; `null` if it failed.
    probe_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Seen {
    /// How long ago something came back from its fetch loop.
    seen_ms_ago: u64,
}

impl Report {
    /// One of somebody who knows nothing but why.
    pub(crate) fn not_ready(reason: &str) -> Self {
        let mut report = Self::default();
        report.reason(reason);
        report
    }

    pub(crate) fn reason(&mut self, reason: impl Into<String>) {
        self.reasons.push(reason.into());
    }

    pub(crate) fn queue(&mut self, name: &str, seen_ago: Duration) {
        let seen_ms_ago = millis(seen_ago);
        self.queues.insert(name.to_owned(), Seen { seen_ms_ago });
    }

    pub(crate) fn probe(&mut self, took: Duration) {
        // Microseconds are as much as anybody can use.
        self.probe_ms = Some((took.as_secs_f64() * 1e6).round() / 1e3);
    }

    /// Whether it is ready; else why not.
    pub(crate) fn verdict(self) -> Result<(), Vec<String>> {
        if self.reasons.is_empty() { Ok(()) } else { Err(self.reasons) }
    }

    /// Whether it is ready, and all of it as JSON.
    pub(crate) fn finish(mut self) -> (bool, String) {
        self.ready = self.reasons.is_empty();
        // Strings and numbers only: nothing here can fail to serialise.
        (self.ready, serde_json::to_string(&self).unwrap_or_default())
    }
}
