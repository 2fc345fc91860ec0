//! The settings: one file, the environment, and the defaults, as checked and typed values.
//!
//! This module has the structs that every program reads, and their rules. The users of a value
//! define its effect; the binaries define flags and apply them to the loaded [`Settings`]; the
//! worker checks that a handler exists.
//!
//! | place | holds |
//! |---|---|
//! | `sections/` | each section: its struct, its defaults, its reader |
//! | `sections/mapping/` | the same of sections whose entries have names, such as `[jobs.NAME]` |
//! | `value/` | the forms of values: durations, sizes, addresses |
//! | `source/` | file and environment as one tree; reading a typed value, or its mistake |
//! | `load.rs` | the order of the sources, and of the sections |
//!
//! Called once at the start of each program, and again when a worker reloads its mapping.

mod load;
mod sections;
mod source;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use sections::admin::AdminSettings;
pub use sections::auth::{AuthKey, AuthSettings, Secret};
pub use sections::client::ClientSettings;
pub use sections::dead::DeadSettings;
pub use sections::events::EventSettings;
pub use sections::gateways::bgpy::BgpySettings;
pub use sections::gateways::grpc_avro::{GrpcAvroSettings, GrpcDoes, GrpcMethod};
pub use sections::gateways::inward::InwardSettings;
pub use sections::gateways::listening::{ListeningSettings, TlsSettings};
pub use sections::gateways::outward::OutwardSettings;
pub use sections::gateways::pm::{PmAnswers, PmRole, PmSettings};
pub use sections::gateways::rq::{RqErrors, RqSettings};
pub use sections::gateways::zmtp::{ZmtpDialect, ZmtpSettings};
pub use sections::gateways::{GatewaySettings, ProtocolSettings};
pub use sections::log::{LogFormat, LogSettings};
pub use sections::mapping::handler::{HandlerPlace, HandlerSettings, HttpSettings};
pub use sections::mapping::jobs::{JobSettings, OnWorkerLoss};
pub use sections::mapping::limit::{Limit, Rate};
pub use sections::mapping::pools::PoolSettings;
pub use sections::mapping::process::ProcessSettings;
pub use sections::mapping::program_env::ProgramEnv;
pub use sections::mapping::retries::{BackoffKind, Retries};
pub use sections::mapping::schedules::{Missed, ScheduleSettings};
pub use sections::mapping::services::{ServiceSettings, ServiceTasks};
pub use sections::queues::QueueSettings;
pub use sections::redis::RedisSettings;
pub use sections::worker::WorkerSettings;
pub use source::error::SettingsError;
pub use value::sentinel::SentinelUrl;

use crate::rules::limits::Limits;
use crate::rules::name::service_queue;

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
    /// `[gateways.NAME]`: the doors of `redcall-gateway`, by name (1 to 64 characters of
    /// `[A-Za-z0-9_.-]`). Empty by default.
    pub gateways: BTreeMap<String, GatewaySettings>,
    /// `[admin]`: the address of the probes and metrics of a worker or a gateway.
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
