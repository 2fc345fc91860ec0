//! The sections of the settings as structs, with their defaults.
//!
//! No reading and no checks: the code that reads a section enforces the ranges, so a struct built
//! in code (by tests or flags) is used unchanged.

use std::net::SocketAddr;
use std::time::Duration;

use super::kinds::HandlerSettings;
use super::program_env::ProgramEnv;
use crate::error::Code;

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

/// `[worker]`: a worker's queues and capacity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSettings {
    /// The name in lists of workers, 1 to 64 characters of `[A-Za-z0-9_.-]`. Default none: the
    /// worker generates one.
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
            idempotency_ttl: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// `[jobs.NAME]`: how one job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSettings {
    /// The handler.
    pub kind: HandlerSettings,
    /// The timeout of one attempt, 1 ms to 1 year. Default 10 minutes.
    pub timeout: Duration,
    /// The queue to which clients with these settings send this job; workers lease it from any
    /// queue. Default none: the client's default queue.
    pub queue: Option<String>,
    /// The number of these jobs that run at the same time in one worker, 1 to 65,536. Default none:
    /// the worker's capacity; for `process` the number of its instances, for `pool` the capacity of
    /// its processes.
    pub concurrency: Option<usize>,
    /// The retries after a failure. Default: none.
    pub retries: Retries,
    /// Whether another worker runs the job again after its worker died. Default
    /// [`OnWorkerLoss::Rerun`].
    pub on_worker_loss: OnWorkerLoss,
    /// The number of crashes after which the job is abandoned, 1 to 1,000. Default 3.
    pub max_crashes: u32,
    /// The window in which a fire-and-forget job with the same data runs only once, 1 s to 1 year.
    /// Default none.
    pub unique: Option<Duration>,
    /// How long the status of each job is kept after its last change, 1 s to 7 days. Default none:
    /// only if a request asks for it.
    pub status: Option<Duration>,
    /// Limits across all workers. Default none.
    pub limit: Option<Limit>,
    /// The environment variables of its command; those of processes are in [`ProcessSettings`].
    pub env: ProgramEnv,
}

/// `[jobs.X] retries`: the number and delay of further attempts after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// The number of further attempts, 0 to 1,000. Default 0.
    pub max: u32,
    /// The growth of the delay. Default [`Backoff::Exponential`].
    pub backoff: Backoff,
    /// The upper bound of the first delay, 1 ms to 1 day. Default 500 ms. Each delay is drawn
    /// evenly between zero and its bound (full jitter).
    pub base: Duration,
    /// The upper bound of every delay, 1 ms to 30 days. Default 5 minutes.
    pub cap: Duration,
    /// The error codes after which the job is retried. Default `handler_failed`,
    /// `handler_panicked`, `timeout`.
    pub on: Vec<Code>,
}

/// The growth of the delay between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backoff {
    /// `backoff = "exponential"`: doubles each time.
    #[default]
    Exponential,
    /// `backoff = "constant"`: always `base`.
    Constant,
}

/// The reaction to a crash of a job's worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnWorkerLoss {
    /// `on_worker_loss = "rerun"`: the job runs again.
    #[default]
    Rerun,
    /// `on_worker_loss = "fail"`: the job is answered `worker_lost`, for jobs that must not repeat.
    Fail,
}

/// `[jobs.X] limit`: limits of one job across all workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The field of `data` by whose value the limits count, each value separately and in turn.
    /// Default none: one limit for all of the job's requests.
    pub key: Option<String>,
    /// The number of its jobs that run at the same time over all workers, 1 to 65,536. Default
    /// none.
    pub concurrency: Option<u32>,
    /// The rate at which jobs start. Default none.
    pub rate: Option<Rate>,
}

/// `rate = "10/s"`: the maximum number in each such period, in a burst if necessary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The number per period, 1 to 1,000,000.
    pub count: u32,
    /// The period: `s`, `m`, `h` or `d`.
    pub per: Duration,
}

impl Retries {
    /// The codes of failed runs that may be retried.
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

/// `[schedules.NAME]`: a recurring job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleSettings {
    /// The job's name.
    pub job: String,
    /// The job's data; stored as JSON. Default `null`.
    pub data: String,
    /// The queue of its ticks. Default: that of the job's mapping, else `default`.
    pub queue: Option<String>,
    /// A cron expression of five fields, or of six with seconds first.
    pub cron: String,
    /// The name of the time zone (IANA) in which `cron` is read. Default `UTC`.
    pub timezone: String,
    /// The treatment of ticks that are more than two leases late, as no worker ran; `all` enqueues
    /// at most the latest 1,000. Default [`Missed::Skip`].
    pub missed: Missed,
}

/// The treatment of ticks at which no worker ran. A tick counts as missed when it is more than two
/// lease times late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// `missed = "skip"`: they are skipped.
    #[default]
    Skip,
    /// `missed = "last"`: the latest is enqueued.
    Last,
    /// `missed = "all"`: all are enqueued, up to the latest 1,000.
    All,
}

impl JobSettings {
    /// Creates a job with handler `kind`, with the defaults for the rest.
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

/// `[queues.NAME]`: the limits of one queue, which override the general ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// The number of requests that it may hold; 0 for no cap. Default none: `limits.max_length`.
    pub max_length: Option<u64>,
    /// The bytes of answers that it may keep, 1 MiB to 1,024 GiB; 0 for no limit. Default none:
    /// `limits.answers_max_bytes`.
    pub answers_max_bytes: Option<u64>,
}

/// `[dead]`: the retention of dead letters. The first limit reached removes the oldest ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadSettings {
    /// The number of dead letters per queue, 1 to 4,294,967,295. Default 10,000.
    pub max: u64,
    /// The bytes of Redis's memory per queue, 1 MiB to 1,024 GiB; 0 for no limit. Default 256 MiB.
    /// Above it the oldest are removed until usage is a little below; the newest always stays.
    pub max_bytes: u64,
    /// The maximum age, 1 s to 10 years. Default 30 days.
    pub age: Duration,
}

impl Default for DeadSettings {
    fn default() -> Self {
        Self { max: 10_000, max_bytes: 256 << 20, age: Duration::from_secs(30 * 24 * 60 * 60) }
    }
}

/// `[events]`: the retention of topics, and automatic events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSettings {
    /// The number of events that a topic keeps, 1 to 4,294,967,295, plus or minus a hundred.
    /// Default 10,000.
    pub max: u64,
    /// The bytes of Redis's memory that a topic keeps, 1 MiB to 1,024 GiB; 0 for no limit. Default
    /// 64 MiB. Above it the oldest are removed until usage is a little below.
    pub max_bytes: u64,
    /// How long a topic is kept after its last event, 1 s to 1 year. Default 1 day.
    pub age: Duration,
    /// The kinds that are copied to the topic `emergency` from all topics. Default 101,
    /// 102 and 2001.
    pub emergency: Vec<u32>,
    /// The period of a worker's heartbeat events, 1 s to 1 hour; 5 s is usual. Default none: no
    /// events.
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

/// `[admin]`: a worker's HTTP server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdminSettings {
    /// The address of probes and metrics; port 0 selects a free one, which the log names. Default
    /// none: no server.
    pub listen: Option<SocketAddr>,
}

/// `[log]`: the level and format of the log on stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Directive of tracing's `EnvFilter`, such as `info` or `info,redcall_worker=debug`. Default
    /// `info`.
    pub level: String,
    /// The format of a line. Default [`LogFormat::Text`].
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `format = "text"`: for reading.
    #[default]
    Text,
    /// `format = "json"`: one object per line.
    Json,
}
