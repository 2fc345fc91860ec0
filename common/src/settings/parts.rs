//! The sections of the settings as structs, with their defaults.
//!
//! No reading and no checking here; the allowed ranges are enforced where a section is read, so a
//! struct built by hand (in tests, by flags) is taken as it is.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::ProgramEnv;
use crate::error::Code;

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
    /// How long a handler that listens to its cancel token may go on after it fired, and a command
    /// after its SIGTERM, 0 to 1 hour. Default 5 s.
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
            idempotency_ttl: Duration::from_secs(24 * 60 * 60),
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
    /// How many of it run at the same time in one worker, 1 to 65,536. Default none: as many as
    /// the worker has slots; for `process` as many as its instances, for
    /// `pool` as many as its processes have room for.
    pub concurrency: Option<usize>,
    /// What is done when it fails. Default: it is given up at once.
    pub retries: Retries,
    /// What is done when its worker dies. Default: it is run again.
    pub on_worker_loss: OnWorkerLoss,
    /// How many of its workers may die before it is given up, 1 to 1,000. Default 3.
    pub max_crashes: u32,
    /// For how long the same data of this job is not run twice when nobody waits for it, 1 s to 1
    /// year. Default none.
    pub unique: Option<Duration>,
    /// For how long the status of each job is kept, from its last change on, 1 s to 7 days. Default
    /// none: only where a request asks for it.
    pub status: Option<Duration>,
    /// Bounds over all workers. Default none.
    pub limit: Option<Limit>,
    /// Which variables its command gets; those of processes are in [`ProcessSettings`].
    pub env: ProgramEnv,
}

/// `[jobs.X] retries`: whether, and how long after, a job that failed is run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// How many further attempts, 0 to 1,000. Default 0.
    pub max: u32,
    /// How the pause grows. Default [`Backoff::Exponential`].
    pub backoff: Backoff,
    /// The longest first pause, 1 ms to 1 day. Default 500 ms. Each pause is drawn evenly from
    /// nothing to its longest (full jitter).
    pub base: Duration,
    /// The longest pause of all, 1 ms to 30 days. Default 5 minutes.
    pub cap: Duration,
    /// After which codes, of [`Retries::CODES`]. Default `handler_failed`, `handler_panicked`,
    /// `timeout`.
    pub on: Vec<Code>,
}

/// How the pause between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backoff {
    /// `backoff = "exponential"`: doubles each time.
    #[default]
    Exponential,
    /// `backoff = "constant"`: always `base`.
    Constant,
}

/// What is done with a job whose worker died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnWorkerLoss {
    /// `on_worker_loss = "rerun"`: it is run again.
    #[default]
    Rerun,
    /// `on_worker_loss = "fail"`: it is answered `worker_lost`, for jobs that must not repeat.
    Fail,
}

/// `[jobs.X] limit`: bounds of one job over all workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The field of `data` by whose value the bounds count, each value for itself and in turns.
    /// Default none: all of the job's requests together.
    pub key: Option<String>,
    /// How many run at the same time, 1 to 65,536. Default none.
    pub concurrency: Option<u32>,
    /// How many start per length of time. Default none.
    pub rate: Option<Rate>,
}

/// `rate = "10/s"`: at most so many in each such length of time, all at once if need be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many, 1 to 1,000,000.
    pub count: u32,
    /// In how long: `s`, `m`, `h` or `d`.
    pub per: Duration,
}

impl Retries {
    /// The codes with which a run can end that may be tried again.
    pub const CODES: [Code; 6] = [
        Code::HandlerFailed,
        Code::HandlerPanicked,
        Code::Timeout,
        Code::InvalidData,
        Code::TooLarge,
        Code::Internal,
    ];
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            max: 0,
            backoff: Backoff::Exponential,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(5 * 60),
            on: vec![Code::HandlerFailed, Code::HandlerPanicked, Code::Timeout],
        }
    }
}

/// `[schedules.NAME]`: a job that is enqueued again and again by the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleSettings {
    /// The job's name.
    pub job: String,
    /// What it gets, as JSON. Default `null`.
    pub data: String,
    /// The queue. Default: that of the job's mapping, else `default`.
    pub queue: Option<String>,
    /// When: a cron expression of five fields, or of six with seconds first. Checked.
    pub cron: String,
    /// The name of the time zone (IANA) in which `cron` is read. Default `UTC`. Checked.
    pub timezone: String,
    /// What is done about ticks at which no worker ran. Default [`Missed::Skip`].
    pub missed: Missed,
}

/// What is done about ticks at which no worker ran. A tick counts as missed when it is more than
/// two lease times late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// `missed = "skip"`: nothing.
    #[default]
    Skip,
    /// `missed = "last"`: the latest of them is made up for.
    Last,
    /// `missed = "all"`: all are made up for, the latest 1,000 at most.
    All,
}

impl JobSettings {
    /// A job that is run by `kind`, with the defaults for the rest.
    #[must_use]
    pub fn new(kind: HandlerSettings) -> Self {
        Self {
            kind,
            timeout: Duration::from_secs(10 * 60),
            queue: None,
            concurrency: None,
            retries: Retries::default(),
            on_worker_loss: OnWorkerLoss::default(),
            max_crashes: 3,
            unique: None,
            status: None,
            limit: None,
            env: ProgramEnv::default(),
        }
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
    /// `process = ["PROGRAM", "ARGUMENT", …]`: a pool of long-lived processes.
    Process(ProcessSettings),
    /// `pool = "NAME"`: the processes of a `[pools.NAME]`, which other jobs use as well.
    Pool(String),
    /// `http = { method = "POST", url = "…" }`: a request to a server.
    Http(HttpSettings),
}

/// `[jobs.X] http`.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// GET, HEAD, POST, PUT, PATCH or DELETE. Default POST.
    pub method: String,
    /// `http://…` or `https://…`.
    pub url: String,
    /// Sent with each request. Default none, but for the content type.
    pub headers: BTreeMap<String, String>,
}

impl fmt::Debug for HttpSettings {
    /// Without what may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&String> = self.headers.keys().collect();
        let mut shown = f.debug_struct("HttpSettings");
        shown.field("method", &self.method).field("headers", &headers).finish_non_exhaustive()
    }
}

/// `[jobs.X] process`, with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessSettings {
    /// Program and arguments, not through a shell, run in [`super::Settings::base_dir`]. Never
    /// empty.
    pub command: Vec<String>,
    /// `instances`: how many processes there are at most, 1 to 1,024. Default 1.
    pub instances: usize,
    /// `start_timeout`: how long one may take to start, 1 ms to 1 hour. Default 10 s.
    pub start_timeout: Duration,
    /// `env` and `inherit_env`: which variables they get.
    pub env: ProgramEnv,
}

impl ProcessSettings {
    /// One process of `command`, with the defaults for the rest.
    #[must_use]
    pub fn new(command: Vec<String>) -> Self {
        let (start_timeout, env) = (Duration::from_secs(10), ProgramEnv::default());
        Self { command, instances: 1, start_timeout, env }
    }
}

/// `[queues.NAME]`: the bounds of one queue, where they are not those of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// How many requests it may hold; 0 for no cap. Default none: `limits.max_length`.
    pub max_length: Option<u64>,
    /// How many bytes of answers it may keep, 1 MiB to 1,024 GiB; 0 for any number. Default none:
    /// `limits.answers_max_bytes`.
    pub answers_max_bytes: Option<u64>,
}

/// `[dead]`: which dead letters are kept. Whichever bound is reached first, the oldest go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadSettings {
    /// How many per queue, 1 to 4,294,967,295. Default 10,000.
    pub max: u64,
    /// How many bytes of Redis's memory per queue, 1 MiB to 1,024 GiB; 0 for any number. Default
    /// 256 MiB. Beyond it the oldest go until a little less is left; the newest stays in any case.
    pub max_bytes: u64,
    /// For how long, 1 s to 10 years. Default 30 days.
    pub age: Duration,
}

impl Default for DeadSettings {
    fn default() -> Self {
        Self { max: 10_000, max_bytes: 256 << 20, age: Duration::from_secs(30 * 24 * 60 * 60) }
    }
}

/// `[events]`: how much of a topic is kept, and what is published by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSettings {
    /// How many events a topic keeps, 1 to 4,294,967,295, give or take a hundred. Default 10,000.
    pub max: u64,
    /// How many bytes of Redis's memory a topic keeps, 1 MiB to 1,024 GiB; 0 for any number.
    /// Default 64 MiB. Beyond it the oldest go until a little less is left.
    pub max_bytes: u64,
    /// For how long after its last event a topic is kept, 1 s to 1 year. Default 1 day.
    pub age: Duration,
    /// Kinds that go out on the topic `emergency`, too, whatever topic they are published on.
    /// Default 101 and 102 (stop and go on, in the older systems), 2001.
    pub emergency: Vec<u32>,
    /// How often a worker publishes that it lives, 1 s to 1 hour; 5 s is usual. Default none: it
    /// does not.
    pub heartbeat: Option<Duration>,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self {
            max: 10_000,
            max_bytes: 64 << 20,
            age: Duration::from_secs(24 * 60 * 60),
            emergency: vec![101, 102, 2001],
            heartbeat: None,
        }
    }
}

/// `[admin]`: what a worker shows of itself over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where probes and metrics are served; port 0 takes a free one, which the log names. Default
    /// none: they are not.
    pub listen: Option<SocketAddr>,
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
