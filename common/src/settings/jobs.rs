//! `[jobs]`: the mapping from job names to handlers.
//!
//! Form only. The worker checks that a compiled-in handler exists, or a program can be started.

use std::collections::BTreeMap;
use std::time::Duration;

use config::Value;

use super::closest;
use super::duration::{SHORTEST, YEAR};
use super::entry::origin_of;
use super::error::SettingsError;
use super::forms::{count, number, queue};
use super::kinds::{self, EXAMPLE, Given, HandlerSettings};
use super::parts::{JobSettings, OnWorkerLoss};
use super::pools::PoolSettings;
use super::program_env;
use super::retries;
use super::section::Section;
use crate::limits::TTL_RANGE_MS;
use crate::name::is_job_name;

const ON_WORKER_LOSS_VALUES: [(&str, OnWorkerLoss); 2] =
    [("rerun", OnWorkerLoss::Rerun), ("fail", OnWorkerLoss::Fail)];

/// Reads all jobs of the `[jobs]` table; a job with a pool names one of `pools`.
pub(super) fn read(
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
    let mut kind = kinds::read(&mut job);
    let mut env = program_env::read(&mut job, given.runs_program());
    if let Some(kind) = &mut kind {
        kind.take_env(&mut env);
    }
    let timeout = job.read("timeout", |entry| entry.duration(SHORTEST..=YEAR));
    let queue = job.read("queue", queue);
    let concurrency = job.read("concurrency", |entry| count(entry, 65_536));
    let retries = retries::retries(&mut job);
    let on_worker_loss = job.read("on_worker_loss", |entry| entry.choice(&ON_WORKER_LOSS_VALUES));
    let max_crashes = job.read("max_crashes", |entry| number(entry, 1..=1000));
    let unique = job.read("unique", |entry| entry.duration(Duration::from_secs(1)..=YEAR));
    let [shortest, longest] =
        [TTL_RANGE_MS.start(), TTL_RANGE_MS.end()].map(|ms| Duration::from_millis(*ms));
    let status = job.read("status", |entry| entry.duration(shortest..=longest));
    let limit = retries::limit(&mut job);
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
        max_crashes: max_crashes.unwrap_or(default.max_crashes),
        unique,
        status,
        limit,
        env,
        kind: default.kind,
    })
}
