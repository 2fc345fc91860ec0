//! `[jobs]`: the mapping from job names to handlers.
//!
//! Form only. The worker checks that a compiled-in handler exists, or a program can be started.

use std::collections::BTreeMap;
use std::time::Duration;

use config::Value;

use super::handler::{self, EXAMPLE, Given, HandlerSettings};
use super::limit::{self, Limit};
use super::pools::PoolSettings;
use super::program_env::{self, ProgramEnv};
use super::retries::{self, Retries};
use crate::rules::limits::TTL_RANGE_MS;
use crate::rules::name::is_job_name;
use crate::settings::source::closest;
use crate::settings::source::entry::origin_of;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;
use crate::settings::value::duration::{SHORTEST, YEAR};
use crate::settings::value::forms::{count, number, queue};

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
    /// The reaction to a dead worker: `rerun` runs the job on another one, `fail` answers
    /// `worker_lost`. Default [`OnWorkerLoss::Rerun`].
    pub on_worker_loss: OnWorkerLoss,
    /// `true` if the settings name [`OnWorkerLoss::Rerun`]: a gateway then reruns the job of a lost
    /// application too.
    pub rerun_named: bool,
    /// The number of crashes after which the job is abandoned, 1 to 1,000. Default 3.
    pub max_crashes: u32,
    /// The window in which a fire-and-forget job with the same data runs only once, 1 s to 1 year.
    /// Default none.
    pub unique: Option<Duration>,
    /// How long the status of each job is kept after its last change, 1 s to 7 days. Default none:
    /// only if a request enables it.
    pub status: Option<Duration>,
    /// Limits across all workers. Default none.
    pub limit: Option<Limit>,
    /// The environment variables of its command; those of processes are in
    /// [`ProcessSettings`](crate::settings::ProcessSettings).
    pub env: ProgramEnv,
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
            rerun_named: false,
            max_crashes: 3,
            unique: None,
            status: None,
            limit: None,
            env: ProgramEnv::default(),
        }
    }
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

const ON_WORKER_LOSS_VALUES: [(&str, OnWorkerLoss); 2] =
    [("rerun", OnWorkerLoss::Rerun), ("fail", OnWorkerLoss::Fail)];

/// Reads all jobs of the `[jobs]` table; a job with a pool names one of `pools`.
pub(crate) fn read(
    mut section: Section<'_>,
    pools: &BTreeMap<String, PoolSettings>,
) -> BTreeMap<String, JobSettings> {
    let values = section.take_all();
    let names: Vec<String> = values.keys().cloned().collect();
    let mut jobs = BTreeMap::new();
    for (name, value) in values {
        let origin = origin_of(&value);
        let Some(job) = job(&section, &name, value, &names) else { continue };
        if let Some(pool) = job.kind.pool()
            && !pools.contains_key(pool)
        {
            let key = format!("{}.pool", section.child(&name));
            let known: Vec<&str> = pools.keys().map(String::as_str).collect();
            let hint = closest::hint(pool, known.iter().copied());
            let help = match known.as_slice() {
                [] => format!("add [pools.{pool}] with process = [\"python3\", …] below"),
                known => format!("{hint}pools: {}", known.join(", ")),
            };
            section.context().report(SettingsError::invalid(
                &origin,
                &key,
                "is not the name of a pool",
                help,
            ));
        }
        jobs.insert(name, job);
    }
    jobs
}

/// Reads one job; `None` if its mistakes leave nothing to run.
fn job(jobs: &Section<'_>, name: &str, value: Value, names: &[String]) -> Option<JobSettings> {
    let example = format!("[jobs.{}] with {EXAMPLE} below", name.escape_debug());
    let mut job = Section::at(jobs.context(), jobs.child(name), value, &example)?;
    if !is_job_name(name) {
        let rule = "1 to 128 characters without spaces and control characters";
        job.wrong("is not a job name", format!("a job name is {rule}"));
    }
    let given = Given::of(&job);
    let mut kind = handler::read(&mut job);
    let mut env = program_env::read(&mut job, given.runs_program());
    if let Some(kind) = &mut kind {
        kind.take_env(&mut env);
    }
    let timeout = job.read("timeout", |entry| entry.duration(SHORTEST..=YEAR));
    let queue = job.read("queue", queue);
    let concurrency = job.read("concurrency", |entry| count(entry, 65_536));
    let retries = retries::read(&mut job);
    let on_worker_loss = job.read("on_worker_loss", |entry| entry.choice(&ON_WORKER_LOSS_VALUES));
    let max_crashes = job.read("max_crashes", |entry| number(entry, 1..=1000));
    let unique = job.read("unique", |entry| entry.duration(Duration::from_secs(1)..=YEAR));
    let [shortest, longest] =
        [TTL_RANGE_MS.start(), TTL_RANGE_MS.end()].map(|ms| Duration::from_millis(*ms));
    let status = job.read("status", |entry| entry.duration(shortest..=longest));
    let limit = limit::read(&mut job);
    match given.keys()[..] {
        [_] => {}
        // A job without one, but with an unknown key, most likely misspells it: report one mistake.
        [] if job.has_unread() => {}
        [] if job.is_from_env() => job.overrides_nothing("job", name, names),
        [] => job.wrong(
            format!("has none of {}", HandlerSettings::KEYS.join(", ")),
            format!("add {EXAMPLE}"),
        ),
        ref given => job.wrong(format!("has {}", given.join(" and ")), "keep one of them"),
    }
    job.finish();
    let default = JobSettings::new(kind?);
    Some(JobSettings {
        timeout: timeout.unwrap_or(default.timeout),
        queue,
        concurrency: concurrency.or(default.kind.instances()),
        retries: retries.unwrap_or(default.retries),
        on_worker_loss: on_worker_loss.unwrap_or(default.on_worker_loss),
        rerun_named: on_worker_loss == Some(OnWorkerLoss::Rerun),
        max_crashes: max_crashes.unwrap_or(default.max_crashes),
        unique,
        status,
        limit,
        env,
        kind: default.kind,
    })
}
