//! Prometheus metrics of one worker (one set per worker, not per process).
//!
//! Written by the dispatcher and its tasks, read at a scrape (`admin/scrape.rs`, which adds the
//! metrics that Redis has). Labels are bounded: jobs by the mapping, outcomes by the codes.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use redcall_common::error::Code;
use redcall_store::{Outcome, Settlement};

use crate::log::dropped;

/// The job label of requests without a mapped name.
const UNKNOWN: &str = "unknown";
/// The outcome label of runs whose job another worker has.
const LOST: &str = "lost";
/// Upper bounds, in seconds: from a no-op to the default timeout of a job.
const BUCKETS: [f64; 13] =
    [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobEnd {
    job: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobName {
    job: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedFor {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CapacityState {
    state: &'static str,
}

/// See the module.
pub(crate) struct Metrics {
    registry: Registry,
    jobs: Family<JobEnd, Counter>,
    seconds: Family<JobName, Histogram>,
    refused: Family<RefusedFor, Counter>,
    busy: Gauge,
    free: Gauge,
    takeovers: Counter,
    reconnects: Counter,
}

/// The metrics of an outcome, counted when it has been settled.
#[derive(Debug, Default)]
pub(crate) struct JobMetrics {
    /// The job's name, if it is mapped.
    pub(crate) job: Option<String>,
    /// Run time; `None`: the request was refused before its handler could start, if it has ended.
    pub(crate) ran: Option<Duration>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let jobs = Family::<JobEnd, Counter>::default();
        let seconds = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> _);
        let refused = Family::<RefusedFor, Counter>::default();
        let capacity = Family::<CapacityState, Gauge>::default();
        let gauge = |state| capacity.get_or_create_owned(&CapacityState { state });
        let (busy, free) = (gauge("busy"), gauge("free"));
        let (takeovers, reconnects) = (Counter::default(), Counter::default());
        let mut registry = Registry::with_prefix("redcall");
        // The encoder appends `_total` to the names of counters.
        registry.register("jobs", "Runs that ended, by outcome", jobs.clone());
        registry.register("job_seconds", "Run time", seconds.clone());
        let help = "Requests refused before a handler started, by error code";
        registry.register("refused", help, refused.clone());
        registry.register("slots", "Jobs that run, and free capacity", capacity);
        let help = "Requests taken over from workers that died";
        registry.register("takeovers", help, takeovers.clone());
        let help = "Reconnections to Redis";
        registry.register("reconnects", help, reconnects.clone());
        let help = "Log lines dropped by the process";
        registry.register("log_lines_dropped", help, dropped::counter());
        Self { registry, jobs, seconds, refused, busy, free, takeovers, reconnects }
    }

    /// Counts an outcome that has been settled.
    pub(crate) fn settled(&self, outcome: &Outcome, job_metrics: JobMetrics) {
        let Some(end) = end_of(outcome) else { return };
        let mut job = job_metrics.job.unwrap_or_else(|| UNKNOWN.to_owned());
        if let Some(ran) = job_metrics.ran {
            let name = JobName { job };
            self.seconds.get_or_create(&name).observe(ran.as_secs_f64());
            JobName { job } = name;
        } else if let Some(code) = outcome.code {
            self.refused_as(code, 1);
        }
        self.jobs.get_or_create(&JobEnd { job, outcome: end }).inc();
    }

    /// Counts requests that ended with `code` before a handler was started.
    pub(crate) fn refused_as(&self, code: Code, count: u64) {
        self.refused.get_or_create(&RefusedFor { code: code.as_str() }).inc_by(count);
    }

    /// Counts an outcome that was not settled: another worker has the request.
    pub(crate) fn refused(&self, outcome: &Outcome, job_metrics: JobMetrics) {
        if let (Some(_), Some(job)) = (end_of(outcome), job_metrics.job) {
            self.lost(job);
        }
    }

    /// Counts a run that was ended because another worker has its request.
    pub(crate) fn lost(&self, job: String) {
        self.jobs.get_or_create(&JobEnd { job, outcome: LOST }).inc();
    }

    pub(crate) fn capacity(&self, busy: usize, of: usize) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.busy.set(gauge(busy));
        self.free.set(gauge(of.saturating_sub(busy)));
    }

    pub(crate) fn took_over(&self, requests: usize) {
        self.takeovers.inc_by(requests as u64);
    }

    pub(crate) fn reconnected(&self) {
        self.reconnects.inc();
    }

    /// Encodes the metrics as text, without the end mark.
    pub(crate) fn encode(&self, out: &mut String) -> fmt::Result {
        text::encode_registry(out, &self.registry)
    }
}

/// Returns the outcome label of a run; `None` if the request continues elsewhere as if the run had
/// not begun.
fn end_of(outcome: &Outcome) -> Option<&'static str> {
    match &outcome.settlement {
        Settlement::Back | Settlement::Rerun { .. } => None,
        Settlement::Retry { .. } => Some("retried"),
        Settlement::Deferred { .. } => Some("deferred"),
        Settlement::Answer { .. }
        | Settlement::Refuse { .. }
        | Settlement::Done
        | Settlement::DeadLetter { .. }
        | Settlement::Unknown { .. } => Some(outcome.code.map_or("ok", |code| code.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use redcall_store::{DeferredRecord, DeferredRun};

    use super::*;

    #[test]
    fn continued_runs_are_not_counted_others_by_outcome() {
        let of = |settlement, code| end_of(&Outcome { code, ..Outcome::new("a", settlement) });
        assert_eq!(of(Settlement::Back, None), None);
        assert_eq!(of(Settlement::Rerun { attempt: 1 }, None), None);
        let retry = Settlement::Retry { delay: Duration::ZERO, notice: None };
        assert_eq!(of(retry, Some(Code::Timeout)), Some("retried"));
        let later = Settlement::Deferred {
            timeout: Duration::ZERO,
            record: Box::new(DeferredRecord {
                digest: String::new(),
                run: DeferredRun::default(),
                reply: None,
                late: String::new(),
                gone: String::new(),
                dead_letter: false,
                status_ttl_ms: None,
                seal: None,
            }),
            notice: None,
        };
        assert_eq!(of(later, None), Some("deferred"));
        assert_eq!(of(Settlement::Done, None), Some("ok"));
        assert_eq!(of(Settlement::Done, Some(Code::Cancelled)), Some("cancelled"));
    }

    #[test]
    fn any_job_name_is_a_valid_label() {
        let metrics = Metrics::new();
        let job_metrics = |job: &str| JobMetrics { job: Some(job.to_owned()), ran: None };
        metrics.settled(&Outcome::new("a", Settlement::Done), job_metrics("a\"b\\c"));
        let mut text = String::new();
        metrics.encode(&mut text).unwrap();
        let line = r#"redcall_jobs_total{job="a\"b\\c",outcome="ok"} 1"#;
        assert!(text.lines().any(|found| found == line), "{text}");
    }
}
