//! All that the settings of a worker map, serve and bound, for `redcall-worker check`: as text for
//! people, as JSON for programs. Without Redis, and without secrets.

use std::time::Duration;

use redcall_common::cron::Cron;
use redcall_common::keys::Keys;
use redcall_common::limits::shown;
use redcall_common::name::service_queue;
use redcall_common::settings::{Limit, Missed, OnWorkerLoss, Settings};
use redcall_common::time::{millis, now_ms};
use serde::Serialize;

use crate::mapping::Mapping;

/// See the module. Its JSON is what `redcall-worker check --json` prints; all times are in ms, all
/// sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// The jobs that it maps, by name.
    pub jobs: Vec<JobOverview>,
    /// The services that it runs, by name.
    pub services: Vec<ServiceOverview>,
    /// The schedules whose ticks it enqueues, by name.
    pub schedules: Vec<ScheduleOverview>,
    /// The queues that it takes from, most urgent first.
    pub queues: Vec<QueueOverview>,
    /// How large anything on the wire may be.
    pub limits: LimitsOverview,
    /// How many dead letters a queue keeps.
    pub dead: BoundOverview,
    /// How many events a topic keeps.
    pub events: BoundOverview,
}

/// One job of the mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobOverview {
    /// Its name.
    pub name: String,
    /// Kind of handler, and what stands behind it.
    pub handler: String,
    /// How long one run may take.
    pub timeout_ms: u64,
    /// How many further attempts there are after one that failed.
    pub retries: u32,
    /// `rerun` or `fail`.
    pub on_worker_loss: &'static str,
    /// How many of its workers may die before it is given up.
    pub max_crashes: u32,
    /// How many run at once in one worker; `None` for as many as it has room for.
    pub concurrency: Option<usize>,
    /// Its bounds over all workers.
    pub limit: Option<LimitOverview>,
}

/// The bounds of a job over all workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitOverview {
    /// The field of `data` by whose value the bounds count.
    pub key: Option<String>,
    /// How many run at once.
    pub concurrency: Option<u32>,
    /// How many start in `rate_per_ms`.
    pub rate: Option<u32>,
    /// In which time.
    pub rate_per_ms: Option<u64>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceOverview {
    /// Its name.
    pub name: String,
    /// Its queue.
    pub queue: String,
    /// Kind of handler, and what stands behind it.
    pub handler: String,
    /// How long one task may take.
    pub timeout_ms: u64,
    /// How long a state is kept that no task changes.
    pub idle_ms: u64,
    /// How many workers may die of one request before it is given up.
    pub max_crashes: u32,
}

/// One schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScheduleOverview {
    /// Its name.
    pub name: String,
    /// The job that it enqueues.
    pub job: String,
    /// Where.
    pub queue: String,
    /// When.
    pub cron: String,
    /// In which time zone.
    pub timezone: String,
    /// The rule for missed ticks: `skip`, `last` or `all`.
    pub missed: &'static str,
    /// When the next tick is, Unix time; `None` if none follows.
    pub next_at: Option<u64>,
    /// Whether this worker maps its job.
    pub is_mapped: bool,
    /// Why each of its ticks fails, whatever other workers map.
    pub problem: Option<String>,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueOverview {
    /// Its name.
    pub name: String,
    /// How many requests it holds; 0 for any number.
    pub max_length: u64,
    /// How many bytes of answers it keeps; 0 for any number.
    pub answers_max_bytes: u64,
}

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitsOverview {
    /// A whole request.
    pub request: usize,
    /// The data of an answer.
    pub answer: usize,
    /// One frame.
    pub frame: usize,
    /// How deep a request nests.
    pub depth: usize,
}

/// The bounds of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoundOverview {
    /// How many entries.
    pub max: u64,
    /// Of how many bytes; 0 for any number.
    pub max_bytes: u64,
    /// For how long.
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

    /// The same for people, line by line.
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
    /// How many of it run, if that is bounded.
    fn bounds(&self) -> Option<String> {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(self.concurrency.map(|most| format!("{most} at once in a worker")));
        if let Some(LimitOverview { key, concurrency, rate, rate_per_ms }) = &self.limit {
            let each = key.as_ref().map(|key| format!(" for each `{key}`")).unwrap_or_default();
            parts.extend(concurrency.map(|most| format!("{most} at once{each}")));
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

/// A Unix time (ms), in UTC to the second.
fn moment(ms: u64) -> String {
    redcall_common::cron::shown(ms).unwrap_or_else(|| format!("{ms} ms"))
}
