//! `[jobs]`: the mapping from job names to what runs them.
//!
//! Form only. Whether a compiled-in handler exists, or a program can be started, the worker says.

use std::collections::BTreeMap;
use std::time::Duration;

use config::Value;

use super::duration::{SHORTEST, YEAR};
use super::entry::Entry;
use super::read::{count, number, queue};
use super::retries;
use super::section::Section;
use super::{HandlerSettings, JobSettings, OnWorkerLoss, SettingsError};
use crate::name::is_job_name;

const EXAMPLE: &str = "handler = \"builtin:echo\" or command = [\"python3\", \"word_count.py\"]";

const LOSSES: [(&str, OnWorkerLoss); 2] =
    [("rerun", OnWorkerLoss::Rerun), ("fail", OnWorkerLoss::Fail)];

/// All jobs of the `[jobs]` table.
pub(super) fn read(mut section: Section<'_>) -> BTreeMap<String, JobSettings> {
    let values = section.take_all();
    let names: Vec<String> = values.keys().cloned().collect();
    let mut jobs = BTreeMap::new();
    for (name, value) in values {
        if let Some(job) = job(&section, &name, value, &names) {
            jobs.insert(name, job);
        }
    }
    jobs
}

/// One job, or None if its mistakes leave nothing that could run.
fn job(jobs: &Section<'_>, name: &str, value: Value, names: &[String]) -> Option<JobSettings> {
    let example = format!("[jobs.{}] with {EXAMPLE} below", name.escape_debug());
    let mut job = Section::at(jobs.context(), jobs.child(name), value, &example)?;
    if !is_job_name(name) {
        let rule = "1 to 128 characters without spaces and control characters";
        job.wrong("is not a job name", format!("a job name is {rule}"));
    }
    let given = [job.origin("handler").is_some(), job.origin("command").is_some()];
    let handler = job.read("handler", compiled);
    let command = job.read("command", command);
    let timeout = job.read("timeout", |entry| entry.duration(SHORTEST..=YEAR));
    let queue = job.read("queue", queue);
    let concurrency = job.read("concurrency", |entry| count(entry, 65_536));
    let retries = retries::retries(&mut job);
    let on_worker_loss = job.read("on_worker_loss", |entry| entry.choice(&LOSSES));
    let max_crashes = job.read("max_crashes", |entry| number(entry, 1..=1000));
    let unique = job.read("unique", |entry| entry.duration(Duration::from_secs(1)..=YEAR));
    let limit = retries::limit(&mut job);
    match given {
        [true, true] => job.wrong("has both handler and command", "keep one of the two"),
        // A job without one, but with an unknown key, most likely has it misspelt: one mistake.
        [false, false] if job.has_unread() => {}
        [false, false] if job.is_from_env() => job.overrides_nothing("job", name, names),
        [false, false] => {
            job.wrong("has neither handler nor command", format!("add {EXAMPLE}"));
        }
        [true, false] | [false, true] => {}
    }
    job.finish();
    let default = JobSettings::new(handler.or(command)?);
    Some(JobSettings {
        timeout: timeout.unwrap_or(default.timeout),
        queue,
        concurrency,
        retries: retries.unwrap_or(default.retries),
        on_worker_loss: on_worker_loss.unwrap_or(default.on_worker_loss),
        max_crashes: max_crashes.unwrap_or(default.max_crashes),
        unique,
        limit,
        kind: default.kind,
    })
}

fn compiled(entry: &Entry) -> Result<HandlerSettings, SettingsError> {
    let rule = "the name of a compiled-in handler, such as \"builtin:echo\"";
    entry.name(is_job_name, rule).map(HandlerSettings::Compiled)
}

fn command(entry: &Entry) -> Result<HandlerSettings, SettingsError> {
    let items = entry.list("[\"python3\", \"word_count.py\"]")?;
    let words = items.iter().enumerate().map(|(index, item)| match &item.value {
        config::ValueKind::String(text) if text.contains('\0') => {
            Err(item.wrong("holds a null character", "no program can be given one: remove it"))
        }
        // An argument may be empty, the program not.
        config::ValueKind::String(text) if index > 0 => Ok(text.clone()),
        _ => item.text("write the program and each argument as text").map(str::to_owned),
    });
    words.collect::<Result<_, _>>().map(HandlerSettings::Command)
}
