//! `[schedules]`: recurring jobs.

use std::collections::BTreeMap;

use config::Value;

#[cfg(feature = "cron")]
use crate::rules::cron::{self, Cron, CronError};
use crate::rules::limits::Limits;
use crate::rules::name::{is_job_name, is_queue, is_schedule};
#[cfg(feature = "cron")]
use crate::settings::source::closest;
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;
use crate::settings::value::forms::QUEUE;

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
    /// The treatment of ticks that are more than two leases late because no worker ran. `all`
    /// enqueues at most the latest 1,000. Default [`Missed::Skip`].
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

const MISSED: [(&str, Missed); 3] =
    [("skip", Missed::Skip), ("last", Missed::Last), ("all", Missed::All)];

const CRON: &str = "write five fields (minute, hour, day of the month, month, day of the week), \
                    or six with seconds in front, such as \"30 2 * * *\" or \"*/10 * * * * *\"";

/// Reads all schedules of the `[schedules]` table.
pub(crate) fn read(
    mut section: Section<'_>,
    limits: &Limits,
) -> BTreeMap<String, ScheduleSettings> {
    let values = section.take_all();
    let names: Vec<String> = values.keys().cloned().collect();
    let mut schedules = BTreeMap::new();
    for (name, value) in values {
        if let Some(schedule) = schedule(&section, &name, value, &names, limits.request) {
            schedules.insert(name, schedule);
        }
    }
    schedules
}

/// Reads one schedule; `None` if its mistakes leave nothing to tick.
fn schedule(
    schedules: &Section<'_>,
    name: &str,
    value: Value,
    names: &[String],
    max: usize,
) -> Option<ScheduleSettings> {
    let example = format!("[schedules.{}] with job and cron below", name.escape_debug());
    let path = schedules.child(name);
    let mut schedule = Section::at(schedules.context(), path, value, &example)?;
    if !is_schedule(name) {
        let rule = "1 to 40 characters of A-Z, a-z, 0-9, `_` and `-`";
        schedule.wrong("is not a schedule name", format!("a schedule name is {rule}"));
    }
    let given = [schedule.origin("job").is_some(), schedule.origin("cron").is_some()];
    let job = schedule.read("job", job);
    let data = schedule.read("data", |entry| data(entry, max));
    let queue = schedule.read("queue", |entry| entry.name(is_queue, QUEUE));
    let cron = schedule.read("cron", cron);
    let timezone = schedule.read("timezone", timezone);
    let missed = schedule.read("missed", |entry| entry.choice(&MISSED));
    match given {
        [true, true] => {}
        // The unknown key most likely is the missing one: report one mistake.
        _ if schedule.has_unread() => {}
        [false, false] if schedule.is_from_env() => {
            schedule.overrides_nothing("schedule", name, names);
        }
        [false, _] => schedule.wrong("has no job", "add job = \"NAME\""),
        [true, false] => schedule.wrong("has no cron", "add cron = \"30 2 * * *\""),
    }
    schedule.finish();
    Some(ScheduleSettings {
        job: job?,
        data: data.unwrap_or_else(|| "null".to_owned()),
        queue,
        cron: cron?,
        timezone: timezone.unwrap_or_else(|| UTC.to_owned()),
        missed: missed.unwrap_or_default(),
    })
}

const UTC: &str = "UTC";

fn job(entry: &Entry) -> Result<String, SettingsError> {
    entry.name(is_job_name, "1 to 128 characters without spaces and control characters")
}

/// Reads JSON of at most `max` bytes: workers would refuse a larger request at every tick.
fn data(entry: &Entry, max: usize) -> Result<String, SettingsError> {
    let json = entry.json()?;
    if json.len() <= max {
        return Ok(json);
    }
    let problem = format!("has {} bytes, the limit is {max}", json.len());
    Err(entry.wrong(problem, "shorten it, or raise limits.request"))
}

#[cfg(feature = "cron")]
fn cron(entry: &Entry) -> Result<String, SettingsError> {
    let text = entry.text(CRON)?.trim();
    match Cron::new(text, UTC) {
        Ok(_) => Ok(text.to_owned()),
        Err(CronError::Never) => {
            let help = "write one that matches: no year has such a day";
            Err(entry.wrong(format!("is {}, which never matches", entry.shown()), help))
        }
        Err(cause) => {
            let problem = format!("must be a cron expression, but is {}", entry.shown());
            Err(entry.wrong_because(problem, CRON, cause))
        }
    }
}

/// Reads an expression that this build cannot check: only workers evaluate it.
#[cfg(not(feature = "cron"))]
fn cron(entry: &Entry) -> Result<String, SettingsError> {
    entry.text(CRON).map(|text| text.trim().to_owned())
}

const TIMEZONE: &str = "write a name of the IANA database, such as \"UTC\" or \"Europe/Berlin\"";

#[cfg(feature = "cron")]
fn timezone(entry: &Entry) -> Result<String, SettingsError> {
    let text = entry.text(TIMEZONE)?.trim();
    if cron::is_timezone(text) {
        return Ok(text.to_owned());
    }
    let known = cron::timezones();
    let hint = closest::hint(text, known.iter().map(String::as_str));
    Err(entry.not_a("a time zone", format!("{hint}{TIMEZONE}")))
}

/// Reads a name that this build cannot check: only workers need the time zone.
#[cfg(not(feature = "cron"))]
fn timezone(entry: &Entry) -> Result<String, SettingsError> {
    entry.text(TIMEZONE).map(|text| text.trim().to_owned())
}
