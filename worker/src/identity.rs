//! The identity of a worker, which it registers at Redis.

use std::time::Duration;

use redcall_common::name::new_id;
use redcall_common::settings::Settings;
use redcall_common::time::{millis, now_ms};
use redcall_store::inspect::{Overdue, WorkerInfo};

use crate::mapping::Mapping;

/// The identity of this worker.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// New at every start: with a fixed id, a restarted worker would look like its dead
    /// predecessor.
    pub(crate) id: String,
    pub(crate) name: String,
    host: String,
    started_at: u64,
    /// The job names that it maps.
    pub(crate) names: Vec<String>,
}

/// The variable part of a heartbeat.
pub(crate) struct Status {
    pub(crate) state: &'static str,
    pub(crate) concurrency: usize,
    pub(crate) running: usize,
    pub(crate) overdue: Vec<Overdue>,
    pub(crate) lease: Duration,
    pub(crate) queues: Vec<String>,
}

impl Identity {
    pub(crate) fn new(settings: &Settings, mapping: &Mapping) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            id: new_id(),
            name: settings.worker.name.clone().unwrap_or_else(|| host.clone()),
            host,
            started_at: now_ms(),
            names: mapping.names(),
        }
    }

    /// Returns the JSON that `redcall workers` shows.
    pub(crate) fn info(&self, status: Status) -> String {
        let info = WorkerInfo {
            id: self.id.clone(),
            name: self.name.clone(),
            host: self.host.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            state: status.state.to_owned(),
            queues: status.queues,
            jobs: self.names.clone(),
            concurrency: status.concurrency,
            running: status.running,
            overdue: status.overdue,
            lease_ms: millis(status.lease),
        };
        // Strings and numbers only: nothing here can fail to serialise.
        serde_json::to_string(&info).unwrap_or_default()
    }
}
