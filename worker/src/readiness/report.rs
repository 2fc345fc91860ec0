//! The body of `/ready`.

use std::collections::BTreeMap;
use std::time::Duration;

use redcall_common::time::millis;
use serde::Serialize;

/// The readiness of a worker, and its problems. Serialised as JSON.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// `true` if there are no reasons against it.
    ready: bool,
    reasons: Vec<String>,
    queues: BTreeMap<String, Seen>,
    /// Duration of the last probe, from its start to its settlement; `null` if it failed.
    probe_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Seen {
    /// Time since the queue's last reply.
    seen_ms_ago: u64,
}

impl Report {
    /// Returns a report with one reason and no details.
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
        // Microseconds are precise enough.
        self.probe_ms = Some((took.as_secs_f64() * 1e6).round() / 1e3);
    }

    /// Returns the reasons why the worker is not ready as an error.
    pub(crate) fn verdict(self) -> Result<(), Vec<String>> {
        if self.reasons.is_empty() { Ok(()) } else { Err(self.reasons) }
    }

    /// Returns `true` if the worker is ready, and the report as JSON.
    pub(crate) fn finish(mut self) -> (bool, String) {
        self.ready = self.reasons.is_empty();
        // Strings and numbers only: nothing here can fail to serialise.
        (self.ready, serde_json::to_string(&self).unwrap_or_default())
    }
}
