//! The job mapping: names of jobs to handlers, from the settings and what is compiled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redcall_common::auth::Keyring;
use redcall_common::request::Request as Wire;
use redcall_common::settings::{HandlerSettings, JobSettings, Limit, Settings};
use redcall_common::store::Rule;
use redcall_common::time::millis;
use reqwest::Client;

use crate::error::WorkerError;
use crate::handler::command::{Bounds, CommandHandler};
use crate::handler::http::HttpHandler;
use crate::handler::process::ProcessHandler;
use crate::handler::{Handler, builtin};
use crate::state::States;

/// What is compiled into this worker, by name.
pub(crate) type Compiled = BTreeMap<String, Arc<dyn Handler>>;

/// One job's handler and rules.
#[derive(Clone)]
pub(crate) struct Mapped {
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) rules: Arc<JobSettings>,
}

/// Names of jobs to handlers.
pub(crate) struct Mapping {
    jobs: BTreeMap<String, Mapped>,
    /// Whether any job is limited, here or over all workers.
    is_limited: bool,
    /// Whether the states of any job are kept without its request asking for it.
    keeps_status: bool,
    /// Who may call; `None`: whoever reaches Redis.
    keyring: Option<Keyring>,
}

/// One line of the mapping, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedJob {
    /// The job's name.
    pub name: String,
    /// Kind of handler, and what stands behind it.
    pub handler: String,
    /// How long one run may take.
    pub timeout: Duration,
}

impl Mapping {
    /// Maps every job of the settings, and every compiled-in handler that they do not mention
    /// under its own name.
    pub(crate) fn new(settings: &Settings, compiled: &Compiled) -> Result<Self, WorkerError> {
        let dir = settings.base_dir();
        let bounds = Bounds {
            max_answer: settings.limits.answer,
            cancel_grace: settings.worker.cancel_grace,
        };
        let (mut jobs, mut http) = (BTreeMap::new(), None);
        for (name, job) in &settings.jobs {
            let handler = handler(job, compiled, (&dir, bounds), &mut http)
                .map_err(|problem| mistake(settings, name, job, problem))?;
            jobs.insert(name.clone(), Mapped { handler, rules: Arc::new(job.clone()) });
        }
        let used = settings.jobs.values().filter_map(|job| match &job.kind {
            HandlerSettings::Compiled(name) => Some(name.as_str()),
            HandlerSettings::Command(_)
            | HandlerSettings::Process(_)
            | HandlerSettings::Http(_) => None,
        });
        let used: Vec<&str> = used.collect();
        for (name, handler) in compiled {
            if !used.contains(&name.as_str()) && !jobs.contains_key(name) {
                let rules = JobSettings::new(HandlerSettings::Compiled(name.clone()));
                let mapped = Mapped { handler: handler.clone(), rules: Arc::new(rules) };
                jobs.insert(name.clone(), mapped);
            }
        }
        let limited = |job: &Mapped| job.rules.limit.is_some() || job.rules.concurrency.is_some();
        let is_limited = jobs.values().any(limited);
        let keeps_status = jobs.values().any(|job| job.rules.status.is_some());
        let keyring = settings.auth.as_ref().map(Keyring::new);
        Ok(Self { jobs, is_limited, keeps_status, keyring })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Mapped> {
        self.jobs.get(name)
    }

    /// Has the states of `request` kept if its mapping wants so. What the request says itself
    /// counts.
    pub(crate) fn keep_status(&self, request: &mut Wire) {
        if self.keeps_status && request.status_ttl_ms.is_none() {
            let status = self.get(&request.name).and_then(|mapped| mapped.rules.status);
            request.status_ttl_ms = status.map(millis);
        }
    }

    /// Who may call; `None`: whoever reaches Redis.
    pub(crate) fn keyring(&self) -> Option<&Keyring> {
        self.keyring.as_ref()
    }

    /// Whether any job is limited, here or over all workers.
    pub(crate) fn is_limited(&self) -> bool {
        self.is_limited
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.jobs.keys().cloned().collect()
    }

    /// The rules of the names that are limited, here or over all workers, and of `others`, which
    /// were limited or mapped once: what was sorted then must not lie for ever. `running` says how
    /// many of a name run here.
    pub(crate) fn limits(&self, others: &[String], running: impl Fn(&str) -> usize) -> Vec<Rule> {
        if !self.is_limited && others.is_empty() {
            return Vec::new();
        }
        let none = Limit { key: None, concurrency: None, rate: None };
        let limited = self.jobs.iter().filter_map(|(name, mapped)| {
            let JobSettings { limit, concurrency, .. } = &*mapped.rules;
            (limit.is_some() || concurrency.is_some()).then(|| Rule {
                name: name.clone(),
                limit: limit.clone().unwrap_or_else(|| none.clone()),
                room: concurrency.map(|most| most.saturating_sub(running(name))),
            })
        });
        let mut rules: Vec<Rule> = limited.collect();
        for name in others {
            if rules.iter().all(|rule| rule.name != *name) {
                rules.push(Rule { name: name.clone(), limit: none.clone(), room: None });
            }
        }
        rules
    }

    /// Asks each handler whether everything it needs is there.
    pub(crate) fn check(&self, states: &States) -> Result<(), WorkerError> {
        for (name, mapped) in &self.jobs {
            mapped
                .handler
                .check(states)
                .map_err(|problem| WorkerError::Handler { job: name.clone(), problem })?;
        }
        Ok(())
    }

    /// Has each handler end what it keeps between jobs.
    pub(crate) async fn close(&self) {
        join_all(self.jobs.values().map(|mapped| mapped.handler.close())).await;
    }

    pub(crate) fn describe(&self) -> Vec<MappedJob> {
        let describe = |(name, mapped): (&String, &Mapped)| MappedJob {
            name: name.clone(),
            handler: mapped.handler.describe(),
            timeout: mapped.rules.timeout,
        };
        self.jobs.iter().map(describe).collect()
    }
}

fn handler(
    job: &JobSettings,
    compiled: &Compiled,
    (dir, bounds): (&Path, Bounds),
    http: &mut Option<Result<Client, String>>,
) -> Result<Arc<dyn Handler>, String> {
    match &job.kind {
        HandlerSettings::Command(command) => {
            Ok(Arc::new(CommandHandler::new(command, dir, bounds)?))
        }
        HandlerSettings::Http(settings) => {
            let client = http.get_or_insert_with(HttpHandler::client).clone()?;
            Ok(Arc::new(HttpHandler::new(settings, client, bounds.max_answer)?))
        }
        HandlerSettings::Process(settings) => {
            Ok(Arc::new(ProcessHandler::new(settings, dir, bounds)?))
        }
        HandlerSettings::Compiled(name) => {
            let built_in = name.strip_prefix(builtin::PREFIX).and_then(builtin::find);
            let found = built_in.map(Arc::from).or_else(|| compiled.get(name).cloned());
            found.ok_or_else(|| {
                let known = builtin::NAMES.map(|name| format!("builtin:{name}")).into_iter();
                let known: Vec<String> = known.chain(compiled.keys().cloned()).collect();
                format!("there is no handler `{name}`; this worker has {}", known.join(", "))
            })
        }
    }
}

fn mistake(settings: &Settings, name: &str, job: &JobSettings, problem: String) -> WorkerError {
    let key = match job.kind {
        HandlerSettings::Compiled(_) => "handler",
        HandlerSettings::Command(_) => "command",
        HandlerSettings::Process(_) => "process",
        HandlerSettings::Http(_) => "http",
    };
    let file = settings.file.clone().unwrap_or_else(|| PathBuf::from("the environment"));
    WorkerError::Mapping { file, key: format!("jobs.{name}.{key}"), problem }
}
