//! `[services]`: queues with state, and the tasks that use it.

use std::collections::BTreeMap;
use std::time::Duration;

use config::Value;

use super::handler;
use super::jobs::JobSettings;
use super::process::{self, ProcessSettings};
use super::program_env;
use crate::rules::name::{is_plain, service_queue};
use crate::settings::source::section::Section;
use crate::settings::value::duration::{DAY, SHORTEST, YEAR};
use crate::settings::value::forms::{QUEUE, number};

const EXAMPLE: &str = "execute = \"counter.execute\" or process = [\"python3\", \"counter.py\"]";

/// `[services.NAME]`: a queue with state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSettings {
    /// The handlers of its tasks.
    pub tasks: ServiceTasks,
    /// The timeout of one request, 1 ms to 1 year. Default 10 minutes.
    pub timeout: Duration,
    /// The number of crashes after which a request is abandoned and the next one runs, 1 to 1,000.
    /// Default 3.
    pub max_crashes: u32,
    /// How long an instance keeps its state after its last change, 1 s to 1 year; must exceed
    /// `timeout`. Default 30 days.
    pub idle: Duration,
}

/// The handlers of a service's tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceTasks {
    /// Compiled-in handlers by their names.
    Compiled {
        /// `init`: The handler that returns the first state. Default none: the arguments of
        /// `initialize` are the state.
        init: Option<String>,
        /// `execute`: The handler that returns the next state. Default: required without `process`.
        execute: String,
        /// `exit`: The handler that receives the last state. Default none: the last state is the
        /// answer.
        exit: Option<String>,
    },
    /// `process`: A pool of processes with the methods `init`, `execute` and `exit`.
    Process(ProcessSettings),
}

impl ServiceSettings {
    /// Creates a service with these tasks, and the defaults for the rest.
    #[must_use]
    pub fn new(tasks: ServiceTasks) -> Self {
        Self { tasks, timeout: Duration::from_secs(10 * 60), max_crashes: 3, idle: 30 * DAY }
    }
}

/// Reads all services of the `[services]` table; none may have the name of one of `jobs`.
pub(crate) fn read(
    mut section: Section<'_>,
    jobs: &BTreeMap<String, JobSettings>,
) -> BTreeMap<String, ServiceSettings> {
    let values = section.take_all();
    let names: Vec<String> = values.keys().cloned().collect();
    let mut services = BTreeMap::new();
    for (name, value) in values {
        if let Some(service) = service(&section, &name, value, (&names, jobs)) {
            services.insert(name, service);
        }
    }
    services
}

/// Reads one service; `None` if its mistakes leave nothing to run.
fn service(
    services: &Section<'_>,
    name: &str,
    value: Value,
    (names, jobs): (&[String], &BTreeMap<String, JobSettings>),
) -> Option<ServiceSettings> {
    let example = format!("[services.{}] with {EXAMPLE} below", name.escape_debug());
    let mut service = Section::at(services.context(), services.child(name), value, &example)?;
    if !is_plain(name) {
        service.wrong("is not a service name", format!("a service name is {QUEUE}"));
    } else if jobs.contains_key(name) {
        let queue = service_queue(name);
        let help = format!("rename one of them: requests to `{queue}` have the service's name");
        service.wrong("has the name of a job", help);
    }
    let given: Vec<&str> = ["init", "execute", "exit"]
        .into_iter()
        .filter(|key| service.origin(key).is_some())
        .collect();
    let has_process = service.origin("process").is_some();
    let mut task = |key| service.read(key, handler::name);
    let (init, execute, exit) = (task("init"), task("execute"), task("exit"));
    let process = process::read(&mut service);
    let env = program_env::read(&mut service, has_process);
    let timeout = service.read("timeout", |entry| entry.duration(SHORTEST..=YEAR));
    let max_crashes = service.read("max_crashes", |entry| number(entry, 1..=1000));
    let idle = service.read("idle", |entry| entry.duration(Duration::from_secs(1)..=YEAR));
    let is_complete = given.contains(&"execute") || has_process;
    match has_process {
        true if !given.is_empty() => {
            let problem = format!("has process and {}", given.join(" and "));
            service.wrong(problem, "keep process, whose methods are the tasks, or remove it");
        }
        // Most likely a key is misspelt: report one mistake.
        false if !is_complete && service.has_unread() => {}
        false if !is_complete && service.is_from_env() => {
            service.overrides_nothing("service", name, names);
        }
        false if !is_complete => {
            service.wrong("has none of execute, process", format!("add {EXAMPLE}"));
        }
        _ => {}
    }
    service.finish();
    let tasks = match (process, execute) {
        (Some(process), _) => ServiceTasks::Process(ProcessSettings { env, ..process }),
        (None, Some(execute)) => ServiceTasks::Compiled { init, execute, exit },
        (None, None) => return None,
    };
    let default = ServiceSettings::new(tasks);
    Some(ServiceSettings {
        timeout: timeout.unwrap_or(default.timeout),
        max_crashes: max_crashes.unwrap_or(default.max_crashes),
        idle: idle.unwrap_or(default.idle),
        ..default
    })
}
