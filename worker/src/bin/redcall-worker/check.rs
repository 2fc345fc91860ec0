//! `redcall-worker check`: prints everything that the settings map, serve and bound, and checks
//! that a worker with them would run its jobs.
//!
//! It runs all checks and prints every problem; the settings themselves are read before.

use std::process::ExitCode;
use std::sync::Arc;

use redcall_common::failure::Failure;
use redcall_common::keys::Keys;
use redcall_common::output as out;
use redcall_common::report::Problem;
use redcall_common::settings::Settings;
use redcall_store::rights::Role;
use redcall_store::{
    CheckOps as _, Connection, Connector, Session as _, SharedOps as _, StoreError,
};
use redcall_worker::{Overview, ScheduleOverview, Worker, WorkerError, handler_runtime, init_log};
use serde_json::{Value, json};

use super::{fail, private_server, problem};

/// The findings of a check.
#[derive(Default)]
struct Findings {
    overview: Option<Overview>,
    /// The address at which Redis answers.
    redis: Option<String>,
    problems: Vec<Problem>,
    /// `true` if no private server could be started, which is not an error of the settings.
    is_without_server: bool,
}

/// Checks the settings, and prints. The exit code is 2 if a worker would not run its jobs.
pub(super) fn run(settings: Settings, as_json: bool) -> ExitCode {
    let _log = init_log(&settings.log);
    let runtime = match handler_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(vec![Problem::of(&error)], 1),
    };
    let findings = runtime.block_on(check(settings));
    runtime.shutdown_background();
    print(findings, as_json)
}

/// Prints mistakes of the settings as JSON, without an overview.
pub(super) fn unusable(problems: Vec<Problem>) -> ExitCode {
    print(Findings { problems, ..Findings::default() }, true)
}

fn print(findings: Findings, as_json: bool) -> ExitCode {
    let printed = match as_json {
        true => out::line(findings.json()),
        false => findings.lines().into_iter().try_for_each(out::line),
    };
    match printed {
        Err(error) => Failure::from(error).end(false),
        Ok(()) => {
            let code = match (findings.is_without_server, findings.problems.is_empty()) {
                (true, _) => 1,
                (false, true) => 0,
                (false, false) => 2,
            };
            // In JSON they are part of the object.
            let problems = if as_json { Vec::new() } else { findings.problems };
            fail(problems, code)
        }
    }
}

async fn check(mut settings: Settings) -> Findings {
    let mut findings = Findings::default();
    let _private = match private_server(&mut settings).await {
        Ok(private) => private,
        Err((problem, _)) => {
            findings.problems.push(problem);
            findings.is_without_server = true;
            return findings;
        }
    };
    let checked = Worker::from_settings(settings.clone()).and_then(|worker| worker.check());
    let overview = match checked {
        Ok(overview) => findings.overview.insert(overview),
        Err(error) => {
            findings.problems.push(problem(&error).0);
            return findings;
        }
    };
    let misplaced = overview.schedules.iter().filter_map(|schedule| {
        let why = schedule.problem.as_ref()?;
        Some(mistake(&settings, format!("schedules.{}.queue", schedule.name), why.clone()))
    });
    findings.problems.extend(misplaced);
    let unmapped: Vec<&ScheduleOverview> =
        overview.schedules.iter().filter(|schedule| !schedule.is_mapped).collect();
    match query(&settings, &unmapped).await {
        Ok(RedisAnswers { address, missing, unknown }) => {
            findings.redis = Some(address);
            let wrong = unknown.iter().map(|schedule| unknown_job(&settings, overview, schedule));
            findings.problems.extend(wrong);
            let missing = missing.join(", ");
            if !missing.is_empty() {
                findings.problems.push(problem(&WorkerError::Rights { missing }).0);
            }
        }
        Err(error) => {
            // Without Redis, only this worker's own mapping is known.
            let wrong = unmapped.iter().map(|schedule| unknown_job(&settings, overview, schedule));
            findings.problems.extend(wrong);
            findings.problems.push(Problem::from(&error));
        }
    }
    findings
}

/// The answers of Redis.
struct RedisAnswers<'a> {
    address: String,
    /// Missing rights that a worker needs.
    missing: Vec<String>,
    /// Schedules whose job no live worker handles.
    unknown: Vec<&'a ScheduleOverview>,
}

async fn query<'a>(
    settings: &Settings,
    unmapped: &[&'a ScheduleOverview],
) -> Result<RedisAnswers<'a>, StoreError> {
    let redis = &settings.redis;
    let connector = Connector::new(redis, "redcall-worker-check")?;
    let address = connector.address().to_owned();
    let link = Connection::connect(connector, Arc::new(|_, _| {})).await?;
    let (keys, served) = (Keys::new(&redis.prefix), settings.served_queues());
    let queues: Vec<&str> = served.iter().map(String::as_str).collect();
    let timeout = redis.response_timeout;
    let missing = link.missing_rights(Role::Worker, &keys, &queues, timeout).await?;
    let missing = missing.into_iter().filter(|right| right.is_needed).map(|right| right.rule);
    let mut unknown = Vec::new();
    for schedule in unmapped {
        let live = link.mapped_names(&keys.of(&schedule.queue), timeout).await?;
        if !live.contains(&schedule.job) {
            unknown.push(*schedule);
        }
    }
    Ok(RedisAnswers { address, missing: missing.collect(), unknown })
}

fn unknown_job(settings: &Settings, overview: &Overview, schedule: &ScheduleOverview) -> Problem {
    let ScheduleOverview { name, job, queue, .. } = schedule;
    let known = overview.jobs.iter().map(|job| &*job.name);
    let known: Vec<&str> =
        known.chain(overview.services.iter().map(|service| &*service.name)).collect();
    let what = format!(
        "unknown job `{job}`: neither these settings nor a live worker of the queue `{queue}` map \
         it; its ticks become dead letters"
    );
    let help = match known.is_empty() {
        true => format!("Add [jobs.{job}]."),
        false => {
            format!("Correct the name, or add [jobs.{job}]; known here: {}", known.join(", "))
        }
    };
    mistake(settings, format!("schedules.{name}.job"), what).help(help)
}

fn mistake(settings: &Settings, key: String, problem: String) -> Problem {
    Problem::of(&WorkerError::mapping(settings, key, problem))
}

impl Findings {
    fn lines(&self) -> Vec<String> {
        let mut lines = self.overview.as_ref().map(Overview::lines).unwrap_or_default();
        lines.extend(self.redis.as_ref().map(|address| format!("redis: {address} answers")));
        lines
    }

    /// Returns the object that docs/guide/worker-settings.md describes: overview, address of Redis,
    /// problems.
    fn json(&self) -> Value {
        let mut shown = match &self.overview {
            Some(overview) => json!(overview),
            None => json!({}),
        };
        let problems: Vec<Value> = self
            .problems
            .iter()
            .map(|problem| json!({ "problem": problem.whole(), "help": problem.advice() }))
            .collect();
        shown["redis"] = json!(self.redis);
        shown["problems"] = problems.into();
        shown["ok"] = self.problems.is_empty().into();
        shown
    }
}
