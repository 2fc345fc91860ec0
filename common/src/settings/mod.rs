//! The settings: one file, the environment, and the defaults, as checked and typed values.
//!
//! This module has the structs that every program reads, and their rules. The users of a value
//! define its effect; the binaries define flags and apply them to the loaded [`Settings`]; the
//! worker checks that a handler exists.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs`, `parts.rs`, `redis.rs` | the public structs and their defaults |
//! | `load.rs` | the order of the sources |
//! | `file.rs`, `env.rs` | the two sources, both brought into one tree of values with origins |
//! | `section.rs`, `entry.rs` | reading a typed value, or its mistake |
//! | `duration.rs`, `size.rs`, `json.rs` | the forms of values |
//! | `read.rs`, `auth.rs`, `jobs.rs`, `retries.rs`, `schedules.rs`, `log.rs` | which keys exist |
//! | `services.rs`, `pools.rs` | the same of `[services]` and `[pools]`, with their structs |
//! | `program_env.rs` | the same of `env` and `inherit_env` |
//! | `url.rs`, `sentinel.rs`, `closest.rs` | the form of an address, "did you mean" |
//! | `error.rs` | [`SettingsError`] |
//!
//! Called once at the start of each program, and again when a worker reloads its mapping.

mod auth;
mod closest;
mod duration;
mod entry;
mod env;
mod error;
mod file;
mod forms;
mod jobs;
mod json;
mod kinds;
mod load;
mod log;
mod parts;
mod pools;
mod program_env;
mod read;
mod redis;
mod retries;
mod schedules;
mod section;
mod sentinel;
mod services;
mod size;
mod url;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use auth::{AuthKey, AuthSettings, Secret};
pub use error::SettingsError;
pub use kinds::{HandlerPlace, HandlerSettings, HttpSettings, ProcessSettings};
pub use parts::{
    AdminSettings, Backoff, ClientSettings, DeadSettings, EventSettings, JobSettings, Limit,
    LogFormat, LogSettings, Missed, OnWorkerLoss, QueueSettings, Rate, Retries, ScheduleSettings,
    WorkerSettings,
};
pub use pools::PoolSettings;
pub use program_env::ProgramEnv;
pub use redis::RedisSettings;
pub use sentinel::SentinelUrl;
pub use services::{ServiceSettings, ServiceTasks};

use crate::limits::Limits;
use crate::name::service_queue;

/// All settings, checked: no value needs another check.
///
/// A field that neither file nor environment sets has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `[redis]`: the address of Redis and its connection options.
    pub redis: RedisSettings,
    /// `[client]`: the timeouts of callers.
    pub client: ClientSettings,
    /// `[worker]`: a worker's queues and capacity.
    pub worker: WorkerSettings,
    /// `[jobs.NAME]`: the job mapping, by job name (1 to 128 characters without spaces and
    /// control characters). Empty by default.
    pub jobs: BTreeMap<String, JobSettings>,
    /// `[pools.NAME]`: processes that several jobs share, by name (1 to 64 characters of
    /// `[A-Za-z0-9_.-]`). Empty by default.
    pub pools: BTreeMap<String, PoolSettings>,
    /// `[services.NAME]`: queues with state, by name (1 to 64 characters of `[A-Za-z0-9_.-]`).
    /// Empty by default.
    pub services: BTreeMap<String, ServiceSettings>,
    /// `[schedules.NAME]`: recurring jobs, by name (1 to 40 characters of `[A-Za-z0-9_-]`). Empty
    /// by default.
    pub schedules: BTreeMap<String, ScheduleSettings>,
    /// `[queues.NAME]`: the limits of one queue, by its name. Empty by default.
    pub queues: BTreeMap<String, QueueSettings>,
    /// `[auth]`: the keys that sign requests. Default none: requests are neither signed nor
    /// refused.
    pub auth: Option<AuthSettings>,
    /// `[limits]`: the maximum size and depth of everything on the wire.
    pub limits: Limits,
    /// `[dead]`: the retention of dead letters, in number, bytes and time.
    pub dead: DeadSettings,
    /// `[events]`: the retention of topics, and automatic events.
    pub events: EventSettings,
    /// `[admin]`: the address of a worker's probes and metrics.
    pub admin: AdminSettings,
    /// `[log]`: the level and format of the log.
    pub log: LogSettings,
    /// The settings file that was read, absolute; `None` if there was none.
    pub file: Option<PathBuf>,
}

impl Settings {
    /// Returns how many requests `queue` may hold; 0 for no cap.
    #[must_use]
    pub fn max_length(&self, queue: &str) -> u64 {
        let own = self.queues.get(queue).and_then(|queue| queue.max_length);
        own.unwrap_or(self.limits.max_length)
    }

    /// Returns how many bytes of answers `queue` may keep; 0 for no limit.
    #[must_use]
    pub fn answers_max_bytes(&self, queue: &str) -> u64 {
        let own = self.queues.get(queue).and_then(|queue| queue.answers_max_bytes);
        own.unwrap_or(self.limits.answers_max_bytes)
    }

    /// Returns the queue of a schedule: its own, else that of its job's mapping, else `default`.
    #[must_use]
    pub fn queue_of(&self, schedule: &ScheduleSettings) -> String {
        let of_job = || self.jobs.get(&schedule.job)?.queue.clone();
        let of_service =
            || self.services.contains_key(&schedule.job).then(|| service_queue(&schedule.job));
        let named = schedule.queue.clone().or_else(of_job).or_else(of_service);
        named.unwrap_or_else(|| "default".to_owned())
    }

    /// Returns the queues of a worker, highest priority first: those of its services, then those of
    /// `worker.queues`.
    #[must_use]
    pub fn served_queues(&self) -> Vec<String> {
        let mut queues: Vec<String> =
            self.services.keys().map(|name| service_queue(name)).collect();
        let others = self.worker.queues.iter().filter(|name| !queues.contains(name));
        let others: Vec<String> = others.cloned().collect();
        queues.extend(others);
        queues
    }

    /// Returns the directory in which commands run: the settings file's, else the working
    /// directory.
    #[must_use]
    pub fn base_dir(&self) -> PathBuf {
        match self.file.as_deref().and_then(Path::parent) {
            Some(dir) => dir.to_path_buf(),
            // A removed working directory has no path any more, but "." still works.
            None => std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
        }
    }
}
