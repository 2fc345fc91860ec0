//! All that the settings of a worker map, serve and bound, for `redcall-worker check`: as text and
//! as JSON. Needs no Redis, shows no secrets.

use std::time::Duration;

use redcall_common::cron::Cron;
use redcall_common::keys::Keys;
use redcall_common::limits::shown;
use redcall_common::name::service_queue;
use redcall_common::settings::{Limit, Missed, OnWorkerLoss, Settings};
use redcall_common::time::{millis, now_ms};
use serde::Serialize;

use crate::mapping::Mapping;

/// The settings of a worker, resolved. `redcall-worker check --json` prints it as JSON; times are
/// in ms, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// The jobs that it maps, by name.
    pub jobs: Vec<JobOverview>,
    /// The services that it runs, by name.
    pub services: Vec<ServiceOverview>,
    /// The schedules whose ticks it enqueues, by name.
    pub schedules: Vec<ScheduleOverview>,
    /// The queues that it polls, highest priority first.
    pub queues: Vec<QueueOverview>,
    /// Size limits on the wire.
    pub limits: LimitsOverview,
    /// Bounds of a queue's dead letters.
    pub dead: BoundOverview,
    /// Bounds of a topic's events.
    pub events: BoundOverview,
}

/// One job of the mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobOverview {
    /// Its name.
    pub name: String,
    /// Kind of handler, and its program or address.
    pub handler: String,
    /// Timeout of one run.
    pub timeout_ms: u64,
    /// Most retries after a failed attempt.
    pub retries: u32,
    /// `rerun` or `fail`.
    pub on_worker_loss: &'static str,
    /// Number of crashed runs after which the job fails.
    pub max_crashes: u32,
    /// Most runs at once in one worker; `None`: bounded by the worker's concurrency.
    pub concurrency: Option<usize>,
    /// The limit over all workers.
    pub limit: Option<LimitOverview>,
}

/// The limit of a job over all workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitOverview {
    /// The field of `data` by whose value the limit counts.
    pub key: Option<String>,
    /// Most runs at once.
    pub concurrency: Option<u32>,
    /// Most starts in `rate_per_ms`.
    pub rate: Option<u32>,
    /// The period of `rate`.
    pub rate_per_ms: Option<u64>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceOverview {
    /// Its name.
    pub name: String,
    /// Its queue.
    pub queue: String,
    /// Kind of handler, and its program or address.
    pub handler: String,
    /// Timeout of one task.
    pub timeout_ms: u64,
    /// How long a state is kept after its last change.
    pub idle_ms: u64,
    /// Number of crashed runs after which a request fails.
    pub max_crashes: u32,
}

/// One schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScheduleOverview {
    /// Its name.
    pub name: String,
    /// The job that it enqueues.
    pub job: String,
    /// The queue of its ticks.
    pub queue: String,
    /// The cron expression.
    pub cron: String,
    /// The time zone of `cron`.
    pub timezone: String,
    /// The rule for missed ticks: `skip`, `last` or `all`.
    pub missed: &'static str,
    /// The next tick, Unix time; `None` if none follows.
    pub next_at: Option<u64>,
    /// `true` if this worker maps its job.
    pub is_mapped: bool,
    /// Why each of its ticks fails, whichever jobs other workers map.
    pub problem: Option<String>,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueOverview {
    /// Its name.
    pub name: String,
    /// Most requests that it holds; 0: unbounded.
    pub max_length: u64,
    /// Most bytes of answers that it keeps; 0: unbounded.
    pub answers_max_bytes: u64,
}

/// The limits of `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitsOverview {
    /// Largest request, bytes.
    pub request: usize,
    /// Largest data of an answer, bytes.
    pub answer: usize,
    /// Largest frame, bytes.
    pub frame: usize,
    /// Deepest nesting of a request, levels.
    pub depth: usize,
}

/// The bounds of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoundOverview {
    /// Most entries.
    pub max: u64,
    /// Most bytes; 0: unbounded.
    pub max_bytes: u64,
    /// Longest age.
    pub age_ms: u64,
}

impl Overview {
    pub(crate) fn of(settings: &Settings, mapping: &Mapping) -> Self {
        let limits = settings.limits;
        let bound = |max, max_bytes, age| BoundOverview { max, max_bytes, age_ms: millis(age) };
        let (dead, events) = (&settings.dead, &settings.events);
        Self {
            jobs: jobs(mapping),
            services: services(settings, mapping),
            schedules: schedules(settings, mapping),
            queues: settings
                .served_queues()
                .into_iter()
                .map(|name| queue(settings, name))
                .collect(),
            limits: LimitsOverview {
                request: limits.request,
                answer: limits.answer,
                frame: limits.frame,
                depth: limits.depth,
            },
            dead: bound(dead.max, dead.max_bytes, dead.age),
            events: bound(events.max, events.max_bytes, events.age),
        }
    }

    /// Returns the overview as text, line by line.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.jobs.is_empty() && self.services.is_empty() {
            lines.push("no jobs are mapped: add a [jobs.NAME] section".to_owned());
        }
        let width = self.jobs.iter().map(|job| job.name.len()).max().unwrap_or(0);
        lines.extend(self.jobs.iter().map(|JobOverview { name, handler, timeout_ms, .. }| {
            format!("{name:width$}  {handler}  (timeout {})", time(*timeout_ms))
        }));
        lines.extend(self.jobs.iter().filter_map(JobOverview::bounds));
        lines.extend(self.services.iter().map(ServiceOverview::line));
        lines.extend(self.schedules.iter().map(ScheduleOverview::line));
        let queues: Vec<&str> = self.queues.iter().map(|queue| &*queue.name).collect();
        lines.push(format!("queues: {}", queues.join(", ")));
        let LimitsOverview { request, answer, frame, depth } = self.limits;
        let [request, answer, frame] = [request, answer, frame].map(|bytes| shown(bytes as u64));
        lines.push(format!(
            "limits: requests of {request}, answers of {answer}, frames of {frame}, depth {depth}"
        ));
        lines.push(format!("bounds: {}", self.bounds()));
        lines
    }

    fn bounds(&self) -> String {
        let of = |bytes: u64| match bytes {
            0 => "any number of bytes".to_owned(),
            _ => shown(bytes),
        };
        let (dead, events) = (of(self.dead.max_bytes), of(self.events.max_bytes));
        let answers = self
            .queues
            .iter()
            .map(|queue| format!("{} of answers on {}", of(queue.answers_max_bytes), queue.name));
        let answers: Vec<String> = answers.collect();
        let answers = answers.join(", ");
        format!("{dead} of dead letters a queue, {events} of events a topic, {answers}")
    }
}

impl JobOverview {
    /// Returns the job's limits as text, if it has any.
    fn bounds(&self) -> Option<String> {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(self.concurrency.map(|max| format!("{max} at once in a worker")));
        if let Some(LimitOverview { key, concurrency, rate, rate_per_ms }) = &self.limit {
            let each = key.as_ref().map(|key| format!(" for each `{key}`")).unwrap_or_default();
            parts.extend(concurrency.map(|max| format!("{max} at once{each}")));
            let rate = rate.zip(*rate_per_ms);
            parts.extend(rate.map(|(count, per)| format!("{count} every {}{each}", time(per))));
        }
        (!parts.is_empty()).then(|| format!("limit {}: {}", self.name, parts.join(", ")))
    }
}

impl ServiceOverview {
    fn line(&self) -> String {
        let Self { name, queue, handler, timeout_ms, idle_ms, .. } = self;
        let (timeout, idle) = (time(*timeout_ms), time(*idle_ms));
        format!("service {name}: {handler}, queue {queue}  (timeout {timeout}, idle {idle})")
    }
}

impl ScheduleOverview {
    fn line(&self) -> String {
        let Self { name, job, queue, cron, timezone, missed, next_at, .. } = self;
        let next = next_at.map_or_else(|| "never".to_owned(), moment);
        let at = format!("\"{cron}\" {timezone}, next {next}, missed ticks: {missed}");
        format!("schedule {name}: {job} on {queue} at {at}")
    }
}

fn jobs(mapping: &Mapping) -> Vec<JobOverview> {
    let jobs = mapping.iter().filter(|(_, mapped)| mapped.service.is_none());
    let jobs = jobs.map(|(name, mapped)| {
        let rules = &mapped.rules;
        JobOverview {
            name: name.clone(),
            handler: mapped.handler.describe(),
            timeout_ms: millis(rules.timeout),
            retries: rules.retries.max,
            on_worker_loss: match rules.on_worker_loss {
                OnWorkerLoss::Rerun => "rerun",
                OnWorkerLoss::Fail => "fail",
            },
            max_crashes: rules.max_crashes,
            concurrency: rules.concurrency,
            limit: rules.limit.as_ref().map(limit),
        }
    });
    jobs.collect()
}

fn limit(Limit { key, concurrency, rate }: &Limit) -> LimitOverview {
    LimitOverview {
        key: key.clone(),
        concurrency: *concurrency,
        rate: rate.map(|rate| rate.count),
        rate_per_ms: rate.map(|rate| millis(rate.per)),
    }
}

fn services(settings: &Settings, mapping: &Mapping) -> Vec<ServiceOverview> {
    let services = settings.services.iter().map(|(name, service)| ServiceOverview {
        name: name.clone(),
        queue: service_queue(name),
        handler: mapping.get(name).map(|mapped| mapped.handler.describe()).unwrap_or_default(),
        timeout_ms: millis(service.timeout),
        idle_ms: millis(service.idle),
        max_crashes: service.max_crashes,
    });
    services.collect()
}

fn schedules(settings: &Settings, mapping: &Mapping) -> Vec<ScheduleOverview> {
    let keys = Keys::new(&settings.redis.prefix);
    let schedules = settings.schedules.iter().map(|(name, schedule)| {
        let queue = settings.queue_of(schedule);
        let cron = Cron::new(&schedule.cron, &schedule.timezone).ok();
        let mapped = mapping.get(&schedule.job);
        ScheduleOverview {
            name: name.clone(),
            job: schedule.job.clone(),
            cron: schedule.cron.clone(),
            timezone: schedule.timezone.clone(),
            missed: match schedule.missed {
                Missed::Skip => "skip",
                Missed::Last => "last",
                Missed::All => "all",
            },
            next_at: cron.and_then(|cron| cron.next_after(now_ms())),
            is_mapped: mapped.is_some(),
            problem: mapped.and_then(|mapped| mapped.misplaced(&schedule.job, &keys.of(&queue))),
            queue,
        }
    });
    schedules.collect()
}

fn queue(settings: &Settings, name: String) -> QueueOverview {
    let max_length = settings.max_length(&name);
    QueueOverview { max_length, answers_max_bytes: settings.answers_max_bytes(&name), name }
}

fn time(ms: u64) -> String {
    format!("{:?}", Duration::from_millis(ms))
}

/// Formats a Unix time (ms), in UTC to the second.
fn moment(ms: u64) -> String {
    redcall_common::cron::shown(ms).unwrap_or_else(|| format!("{ms} ms"))
}
