//! `[jobs]`: the mapping from job names to what runs them.
//!
//! Form only. Whether a compiled-in handler exists, or a program can be started, the worker says.

use std::collections::BTreeMap;

use config::Value;

use super::closest;
use super::duration::{SHORTEST, YEAR};
use super::entry::Entry;
use super::read::queue;
use super::section::Section;
use super::{HandlerSettings, JobSettings, SettingsError};
use crate::name::is_job_name;

const EXAMPLE: &str = "handler = \"builtin:echo\" or command = [\"python3\", \"word_count.py\"]";

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
    match given {
        [true, true] => job.wrong("has both handler and command", "keep one of the two"),
        // A job without one, but with an unknown key, most likely has it misspelt: one mistake.
        [false, false] if job.has_unread() => {}
        [false, false] if job.is_from_env() => no_such_job(&job, name, names),
        [false, false] => {
            job.wrong("has neither handler nor command", format!("add {EXAMPLE}"));
        }
        [true, false] | [false, true] => {}
    }
    job.finish();
    let mut settings = JobSettings::new(handler.or(command)?);
    settings.timeout = timeout.unwrap_or(settings.timeout);
    settings.queue = queue;
    Some(settings)
}

/// An environment variable that sets a key of a job which nothing runs overrides nothing.
fn no_such_job(job: &Section<'_>, name: &str, names: &[String]) {
    let others = || names.iter().map(String::as_str).filter(|other| *other != name);
    let hint = closest::hint(name, others());
    let known = others().collect::<Vec<_>>().join(", ");
    let known = if known.is_empty() { "none".to_owned() } else { known };
    job.wrong("there is no such job to override", format!("{hint}jobs: {known}"));
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
