//! The job mapping: job names to handlers, from the settings and the compiled-in handlers.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use redcall_common::auth::Keyring;
use redcall_common::keys::QueueKeys;
use redcall_common::leash::Leash;
use redcall_common::limit_key;
use redcall_common::name::service_queue;
use redcall_common::request::DecodedRequest;
use redcall_common::service::INSTANCE;
use redcall_common::settings::{
    HandlerSettings, JobSettings, Limit, ServiceSettings, ServiceTasks, Settings,
};
use redcall_common::time::millis;
use redcall_store::LimitRule;

use crate::error::WorkerError;
use crate::handler::bounds::Bounds;
use crate::handler::compiled::state::StateMap;
use crate::handler::interface::Handler;
use crate::handler::process::ProcessHandler;
use crate::handler::program::ProgramContext;
use crate::handler::program::environment::Environment;
use crate::handler::service::ServiceHandler;
use crate::handler::{Compiled, Parts, Pools};
use crate::run::service::ServiceRules;

/// One job's handler and rules.
#[derive(Clone)]
pub(crate) struct Mapped {
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) rules: Arc<JobSettings>,
    /// Set for a service: its requests work on a state.
    pub(crate) service: Option<ServiceRules>,
    /// The pool of processes that it shares with other names.
    pub(crate) pool: Option<Arc<ProcessHandler>>,
}

impl Mapped {
    /// Returns `true` if its requests may run in a lane: no rule needs a real lease, and the
    /// handler may end within a millisecond.
    pub(crate) fn is_plain(&self) -> bool {
        let JobSettings { kind, concurrency, limit, unique, .. } = &*self.rules;
        let is_limited = concurrency.is_some() || limit.is_some() || unique.is_some();
        kind.compiled().is_some() && self.service.is_none() && self.pool.is_none() && !is_limited
    }

    /// Returns why a request of this name must not run from that queue, if so: a service's requests
    /// run from the service's own queue only, and no other requests do.
    pub(crate) fn misplaced(&self, name: &str, queue: &QueueKeys) -> Option<String> {
        match (self.service, queue.service()) {
            (None, None) => None,
            (Some(_), Some(service)) if service == name => None,
            (Some(_), _) => {
                let own = service_queue(name);
                Some(format!("`{name}` is a service: its requests must be in the queue `{own}`"))
            }
            (None, Some(service)) => {
                Some(format!("the queue `{}` takes requests to `{service}` only", queue.name()))
            }
        }
    }

    /// Returns why `poll.lua` may have partitioned a request by another key than its data has, if
    /// so.
    pub(crate) fn misread_key(&self, raw: &[u8]) -> Option<String> {
        let limit = self.rules.limit.as_ref().and_then(|limit| limit.key.as_deref());
        let field = if self.service.is_some() { Some(INSTANCE) } else { limit };
        field.and_then(|field| limit_key::misread(raw, field))
    }
}

/// Names of jobs to handlers.
pub(crate) struct Mapping {
    jobs: BTreeMap<String, Mapped>,
    /// `true` if any job has a limit, in this worker or over all workers.
    is_limited: bool,
    /// `true` if the mapping tracks the status of any job by itself.
    keeps_status: bool,
    /// The keys of authorised callers; `None`: any client of Redis may call.
    keyring: Option<Arc<Keyring>>,
}

impl Mapping {
    /// Maps every job of the settings, and every other compiled-in handler under its own name.
    pub(crate) fn new(settings: &Settings, compiled: &Compiled) -> Result<Self, WorkerError> {
        let dir = settings.base_dir();
        let bounds = Bounds {
            max_answer: settings.limits.answer,
            depth: settings.limits.depth,
            cancel_grace: settings.worker.cancel_grace,
        };
        let environment = Environment::of(settings);
        let context = ProgramContext {
            dir: &dir,
            bounds,
            leash: &Leash::default(),
            environment: &environment,
        };
        let pools = pools(settings, &context)?;
        let parts = Parts::new(compiled, &pools, &context);
        let mut jobs = BTreeMap::new();
        for (name, job) in &settings.jobs {
            let handler = parts.make(name, job).map_err(|problem| {
                let key = format!("jobs.{name}.{}", job.kind.key());
                WorkerError::mapping(settings, key, problem)
            })?;
            let pool = job.kind.pool().and_then(|pool| pools.get(pool)).cloned();
            let rules = Arc::new(job.clone());
            jobs.insert(name.clone(), Mapped { handler, rules, service: None, pool });
        }
        for (name, settings_of) in &settings.services {
            // A reload changes jobs but not services: the two may clash.
            if jobs.contains_key(name) {
                let problem =
                    "a service of this worker has that name: restart the worker, or rename the job";
                return Err(WorkerError::mapping(
                    settings,
                    format!("jobs.{name}"),
                    problem.to_owned(),
                ));
            }
            let service = service((name, settings_of), &parts).map_err(|(key, problem)| {
                WorkerError::mapping(settings, format!("services.{name}.{key}"), problem)
            })?;
            jobs.insert(name.clone(), service);
        }
        let used = settings.jobs.values().filter_map(|job| job.kind.compiled());
        let used: Vec<&str> = used.chain(settings.services.values().flat_map(tasks)).collect();
        for (name, handler) in compiled {
            if !used.contains(&name.as_str()) && !jobs.contains_key(name) {
                let rules = JobSettings::new(HandlerSettings::Compiled(name.clone()));
                let (handler, rules) = (handler.clone(), Arc::new(rules));
                let mapped = Mapped { handler, rules, service: None, pool: None };
                jobs.insert(name.clone(), mapped);
            }
        }
        let limited = |job: &Mapped| {
            let here = job.rules.concurrency.is_some() || job.pool.is_some();
            job.service.is_none() && (job.rules.limit.is_some() || here)
        };
        let is_limited = jobs.values().any(limited);
        let keeps_status = jobs.values().any(|job| job.rules.status.is_some());
        let keyring = settings.auth.as_ref().map(Keyring::new).map(Arc::new);
        Ok(Self { jobs, is_limited, keeps_status, keyring })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Mapped> {
        self.jobs.get(name)
    }

    /// Tracks the status of `request` if its mapping enables that. The request's own setting wins.
    pub(crate) fn keep_status(&self, request: &mut DecodedRequest) {
        if self.keeps_status && request.status_ttl_ms.is_none() {
            let status = self.get(&request.name).and_then(|mapped| mapped.rules.status);
            request.status_ttl_ms = status.map(millis);
        }
    }

    /// The keys of authorised callers; `None`: any client of Redis may call.
    pub(crate) fn keyring(&self) -> Option<&Arc<Keyring>> {
        self.keyring.as_ref()
    }

    /// Returns `true` if any job has a limit, in this worker or over all workers.
    pub(crate) fn is_limited(&self) -> bool {
        self.is_limited
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.jobs.keys().cloned().collect()
    }

    /// Returns the rules of the names with a limit, in this worker or over all workers, and of
    /// `others`, which had a limit or a mapping once: their partitioned requests must not stay
    /// behind. `running` returns the number of runs of a name in this worker.
    pub(crate) fn limits(
        &self,
        others: &[String],
        running: impl Fn(&str) -> usize,
    ) -> Vec<LimitRule> {
        if !self.is_limited && others.is_empty() {
            return Vec::new();
        }
        let none = Limit { key: None, concurrency: None, rate: None };
        // The free capacity of each pool, which its names share.
        let mut rooms = BTreeMap::new();
        for (name, mapped) in &self.jobs {
            if let Some(pool) = &mapped.pool {
                let room = rooms.entry(Arc::as_ptr(pool)).or_insert_with(|| pool.capacity());
                *room = room.saturating_sub(running(name));
            }
        }
        let jobs = self.jobs.iter().filter(|(_, mapped)| mapped.service.is_none());
        let limited = jobs.filter_map(|(name, mapped)| {
            let JobSettings { limit, concurrency, .. } = &*mapped.rules;
            let own = concurrency.map(|max| max.saturating_sub(running(name)));
            let shared =
                mapped.pool.as_ref().and_then(|pool| rooms.get(&Arc::as_ptr(pool)).copied());
            let room = own.into_iter().chain(shared).min();
            (limit.is_some() || room.is_some()).then(|| LimitRule {
                name: name.clone(),
                limit: limit.clone().unwrap_or_else(|| none.clone()),
                room,
            })
        });
        let mut rules: Vec<LimitRule> = limited.collect();
        for name in others {
            if rules.iter().all(|rule| rule.name != *name) {
                rules.push(LimitRule { name: name.clone(), limit: none.clone(), room: None });
            }
        }
        rules
    }

    /// Returns the rule of a service's queue: one request of an instance at a time. Partitioned
    /// requests of a service that was removed from the mapping are leased in any order.
    pub(crate) fn service_rule(&self, service: &str) -> LimitRule {
        let is_ours = self.get(service).is_some_and(|mapped| mapped.service.is_some());
        let key = is_ours.then(|| INSTANCE.to_owned());
        let limit = Limit { key, concurrency: is_ours.then_some(1), rate: None };
        LimitRule { name: service.to_owned(), limit, room: None }
    }

    /// Checks that each handler has everything it needs.
    pub(crate) fn check(&self, states: &StateMap) -> Result<(), WorkerError> {
        for (name, mapped) in &self.jobs {
            mapped
                .handler
                .check(states)
                .map_err(|problem| WorkerError::Handler { job: name.clone(), problem })?;
        }
        Ok(())
    }

    /// Closes what each handler keeps between jobs.
    pub(crate) async fn close(&self) {
        join_all(self.jobs.values().map(|mapped| mapped.handler.close())).await;
    }

    /// The jobs and services, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Mapped)> {
        self.jobs.iter()
    }
}

/// The pools that several jobs share, by name.
fn pools(settings: &Settings, context: &ProgramContext<'_>) -> Result<Pools, WorkerError> {
    let pools = settings.pools.iter().map(|(name, pool)| {
        let made = ProcessHandler::new(name, &pool.process, context);
        let key = || format!("pools.{name}.process");
        let made = made.map_err(|problem| WorkerError::mapping(settings, key(), problem))?;
        Ok((name.clone(), Arc::new(made)))
    });
    pools.collect()
}

/// Returns the mapping of a service; on error, the key and the problem.
fn service(
    (name, settings): (&str, &ServiceSettings),
    parts: &Parts<'_>,
) -> Result<Mapped, (&'static str, String)> {
    let (kind, handler) = match &settings.tasks {
        ServiceTasks::Process(process) => {
            let pool = ProcessHandler::new(name, process, parts.context);
            let pool = pool.map_err(|why| ("process", why))?;
            let pool: Arc<dyn Handler> = Arc::new(pool);
            let (init, exit) = (Some(pool.clone()), Some(pool.clone()));
            let kind = HandlerSettings::Process(process.clone());
            (kind, ServiceHandler { init, execute: pool, exit })
        }
        ServiceTasks::Compiled { init, execute, exit } => {
            let task = |key, name: &str| parts.compiled(name).map_err(|why| (key, why));
            let optional = |key, name: &Option<String>| {
                name.as_deref().map(|name| task(key, name)).transpose()
            };
            let (init, exit) = (optional("init", init)?, optional("exit", exit)?);
            let kind = HandlerSettings::Compiled(execute.clone());
            (kind, ServiceHandler { init, execute: task("execute", execute)?, exit })
        }
    };
    let ServiceSettings { timeout, max_crashes, idle, .. } = *settings;
    // A failed task is answered, and never retried after later tasks.
    let rules = JobSettings { timeout, max_crashes, ..JobSettings::new(kind) };
    let (handler, rules) = (Arc::new(handler), Arc::new(rules));
    Ok(Mapped { handler, rules, service: Some(ServiceRules { idle }), pool: None })
}

/// The compiled-in handlers that a service names.
fn tasks(service: &ServiceSettings) -> impl Iterator<Item = &str> {
    let names = match &service.tasks {
        ServiceTasks::Compiled { init, execute, exit } => {
            [init.as_deref(), Some(execute.as_str()), exit.as_deref()]
        }
        ServiceTasks::Process(_) => [None; 3],
    };
    names.into_iter().flatten()
}
