//! The sections of the settings as structs, with their defaults.
//!
//! No reading and no checking here; the allowed ranges are enforced where a section is read, so a
//! struct built by hand (in tests, by flags) is taken as it is.

use std::time::Duration;

/// `[client]`: how long callers wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// How long a waited call may take from enqueue to answer, 1 ms to 1 year. Default 30 s. A
    /// single call may say otherwise.
    pub timeout: Duration,
    /// How long a waited call puts up with a queue that no worker listens to before it fails with
    /// `no_workers`, 0 (at once) to 1 year. Default 5 s.
    pub no_workers_grace: Duration,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), no_workers_grace: Duration::from_secs(5) }
    }
}

/// `[worker]`: what a worker takes and how much at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSettings {
    /// Name shown in lists of workers, 1 to 64 characters of `[A-Za-z0-9_.-]`. Default none: the
    /// worker makes one up.
    pub name: Option<String>,
    /// Queues to take from, most urgent first; at least one, none twice. Default `high`,
    /// `default`, `low`.
    pub queues: Vec<String>,
    /// How many jobs run at the same time in this worker, 1 to 65,536. Default 64.
    pub concurrency: usize,
    /// How long a silent worker keeps its requests before others take them over, 100 ms to
    /// 1 hour. Renewed every third of it. Default 5 s.
    pub lease: Duration,
    /// How long running jobs may go on after a stop was asked for, 0 to 1 year; what is left then
    /// goes back to its queue. Default 25 s.
    pub drain_timeout: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            name: None,
            queues: ["high", "default", "low"].map(str::to_owned).into(),
            concurrency: 64,
            lease: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(25),
        }
    }
}

/// `[jobs.NAME]`: how one job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSettings {
    /// What runs it.
    pub kind: HandlerSettings,
    /// How long one attempt may run, 1 ms to 1 year. Default 10 minutes.
    pub timeout: Duration,
    /// Queue to which clients with these settings send this job; workers take it from any.
    /// Default none: the client's default queue.
    pub queue: Option<String>,
}

impl JobSettings {
    /// A job that is run by `kind`, with the defaults for the rest.
    #[must_use]
    pub fn new(kind: HandlerSettings) -> Self {
        Self { kind, timeout: Duration::from_secs(10 * 60), queue: None }
    }
}

/// What runs a job. Each job has exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerSettings {
    /// `handler = "NAME"`: Rust compiled into the worker, `builtin:…` or a name it registered.
    Compiled(String),
    /// `command = ["PROGRAM", "ARGUMENT", …]`: one process per job, not through a shell, run in
    /// [`super::Settings::base_dir`]. Never empty.
    Command(Vec<String>),
}

/// `[dead]`: which dead letters are kept. Whichever bound is reached first, the oldest go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadSettings {
    /// How many per queue, 1 to 4,294,967,295. Default 10,000.
    pub max: u64,
    /// For how long, 1 s to 10 years. Default 30 days.
    pub age: Duration,
}

impl Default for DeadSettings {
    fn default() -> Self {
        Self { max: 10_000, age: Duration::from_secs(30 * 24 * 60 * 60) }
    }
}

/// `[log]`: what is logged to stderr, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Directive of tracing's `EnvFilter`, such as `info` or `info,redcall_worker=debug`. Default
    /// `info`.
    pub level: String,
    /// Lines for people or for machines. Default [`LogFormat::Text`].
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `format = "text"`: for people.
    #[default]
    Text,
    /// `format = "json"`: one object per line.
    Json,
}
