//! `redcall doctor`: checks settings, Redis, workers and queues, and states how to repair each
//! finding.
//!
//! | file | checks |
//! |---|---|
//! | `settings.rs` | the effective settings |
//! | `mapping.rs` | the programs in the job mapping |
//! | `server.rs` | Redis itself |
//! | `rights.rs` | the ACL rights of the Redis user |
//! | `workers.rs` | live workers: queues, versions, job names |
//! | `queues.rs` | waiting and held jobs, dead letters |
//! | `schedules.rs` | whether workers handle the scheduled jobs |
//! | `stored/limits.rs` | rate and concurrency limits |
//! | `stored/times.rs` | timestamps in Redis that are too far in the future |
//! | `stored/states.rs` | signatures of service states |
//! | `stored/keys.rs` | keys without a TTL |
//! | `stored/bytes.rs` | the size of the queues |
//! | `call.rs` | calls of jobs, if requested |
//!
//! It writes nothing to Redis, except for the calls.

mod call;
mod failed;
mod mapping;
mod queues;
mod rights;
mod schedules;
mod server;
mod settings;
mod stored;
mod workers;

use std::time::Duration;

use clap::Args;
use redcall_client::{Inspector, Listing, Settings, StoreError};
use redcall_common::clean::clean;
use redcall_common::finding::{Finding, Level};
use redcall_common::keys::Keys;
use redcall_common::output as out;
use redcall_store::Connector;
use tokio::time::timeout;

use crate::verb::{Options, Verb};
use failed::{CHECK_TIMEOUT, unknown, with_causes};
use redcall_common::failure::Failure;
use stored::{bytes, keys, limits, states, times};

/// Maximum time to connect, whatever the settings allow.
const CONNECT: Duration = Duration::from_secs(2);

/// Options of the checks.
#[derive(Args)]
pub(crate) struct Doctor {
    /// Call this job for real (data as JSON, else null) and report the time to its answer
    #[arg(long, value_name = "NAME[=DATA]", value_parser = call::TestCall::parse)]
    call: Vec<call::TestCall>,
    /// Timeout of each of these calls
    #[arg(long, value_name = "TIME", default_value = "5s", requires = "call")]
    #[arg(value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// The findings so far.
struct Report {
    findings: Vec<Finding>,
    /// The exit code, unless the findings determine it.
    code: u8,
}

impl Verb for Doctor {
    /// Prints the findings. Returns exit code 0 if there is no problem or warning, 3 if Redis
    /// cannot be reached, 2 if its settings are invalid, else 1.
    async fn start(self, options: &Options) -> Result<u8, Failure> {
        let settings = options.read_settings()?;
        let mut report = Report { findings: settings::check(&settings), code: 0 };
        report.findings.extend(mapping::check(&settings));
        if settings.redis.is_embedded() {
            report.findings.push(server::embedded());
            report.findings.extend(self.call.first().map(|_| call::impossible()));
        } else {
            match inspect(&settings) {
                Ok(inspector) => self.check(&inspector, &settings, &mut report).await?,
                Err(error) => report.failed(&error),
            }
        }
        match options.as_json {
            true => out::line(report.json())?,
            false => out::print(report.text())?,
        }
        Ok(report.exit_code())
    }
}

impl Doctor {
    async fn check(
        &self,
        inspector: &Inspector,
        settings: &Settings,
        report: &mut Report,
    ) -> Result<(), Failure> {
        // Filled step by step, so that a timeout keeps the findings so far.
        let checks = check_redis(inspector, settings, &mut report.findings);
        match timeout(CHECK_TIMEOUT, checks).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                report.failed(&error);
                return Ok(());
            }
            Err(_) => {
                let what = format!("the checks of Redis did not finish within {CHECK_TIMEOUT:?}");
                let means = "Checks that are not listed here were not made.";
                let cure = "Check its load (SLOWLOG GET, INFO commandstats) and the network.";
                report.findings.push(Finding::new("redis", Level::Problem, what, means, cure));
                return Ok(());
            }
        }
        if !self.call.is_empty() {
            report.findings.extend(call::make(&self.call, self.timeout, settings).await?);
        }
        Ok(())
    }
}

fn inspect(settings: &Settings) -> Result<Inspector, StoreError> {
    let mut redis = settings.redis.clone();
    redis.connect_timeout = redis.connect_timeout.min(CONNECT);
    redis.response_timeout = redis.response_timeout.min(CONNECT);
    let connector = Connector::new(&redis, "redcall-doctor")?;
    Ok(Inspector::new(&connector, Keys::new(&redis.prefix)))
}

/// Runs all checks of Redis. Returns an error only if no further check can succeed.
async fn check_redis(
    inspector: &Inspector,
    settings: &Settings,
    findings: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    server::check(inspector, settings, findings).await?;
    findings.extend(rights::check(inspector, settings).await);
    let workers = inspector.workers().await;
    let listing = inspector.listing().await;
    let names = listing.as_ref().map(Listing::names).unwrap_or_default();
    let first = match &listing {
        Ok(listing) => Some(queues::Heads::of(inspector, &listing.queues).await?),
        Err(_) => None,
    };
    match (&workers, &listing) {
        (Ok(workers), Ok(listing)) => {
            let queues = &listing.queues;
            findings.push(queues::found(listing));
            findings.extend(queues::unreadable(listing));
            findings.extend(workers::check(workers, queues, settings));
            findings.extend(queues::check(queues, settings));
            findings.push(or_unknown("bytes", bytes::check(inspector, queues, settings).await));
            findings.push(or_unknown("leases", queues::leases(inspector, queues, settings).await));
        }
        (Err(error), _) | (_, Err(error)) => findings.push(unknown("queues", error)),
    }
    let schedules = schedules::check(inspector, settings).await;
    findings.extend(schedules.unwrap_or_else(|error| vec![unknown("schedules", &error)]));
    let census = inspector.census(keys::SCAN_TIMEOUT, keys::SCAN_MAX).await;
    let partitioned = census.as_ref().map_or(&[][..], |census| &census.partitioned);
    let limits = limits::check(inspector, &names, settings, partitioned).await;
    findings.push(or_unknown("limits", limits));
    findings.push(or_unknown("times", times::check(inspector, &names, settings).await));
    let states = census.as_ref().map_or(&[][..], |census| &census.states);
    match states::check(inspector, settings, states).await {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(unknown("states", &error)),
    }
    findings.push(or_unknown("keys", census.as_ref().map(keys::check).map_err(Clone::clone)));
    if let Some(first) = first {
        // Last, so that some time lies between the two reads of these queues.
        findings.extend(first.reread(inspector).await?);
    }
    Ok(())
}

fn or_unknown(check: &'static str, found: Result<Finding, StoreError>) -> Finding {
    found.unwrap_or_else(|error| unknown(check, &error))
}

impl Report {
    /// Adds the finding for a Redis that cannot be used.
    fn failed(&mut self, error: &StoreError) {
        self.code = Failure::from(error).code;
        let means = "No job can be queued or run. Checks that need Redis were not made.";
        let what = with_causes(error);
        self.findings.push(Finding::new("redis", Level::Problem, what, means, error.help()));
    }

    fn is_ok(&self) -> bool {
        !self.findings.iter().any(|finding| finding.level.is_bad())
    }

    fn exit_code(&self) -> u8 {
        if self.code > 0 { self.code } else { u8::from(!self.is_ok()) }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({ "findings": self.findings, "ok": self.is_ok() })
    }

    /// Formats the findings in the order of the checks, then the numbers of problems and warnings.
    fn text(&self) -> String {
        let width = self.findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for Finding { check, level, what, means, cure } in &self.findings {
            text.push_str(&format!("{level:7}  {check:width$}  {}\n", clean(what)));
            for more in [means, cure].into_iter().flatten() {
                text.push_str(&format!("{:7}  {:width$}  {}\n", "", "", clean(more)));
            }
        }
        let count = |level| self.findings.iter().filter(|finding| finding.level == level).count();
        let counted = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        let problems = counted(count(Level::Problem), "problem");
        text.push_str(&format!("{problems}, {}\n", counted(count(Level::Warning), "warning")));
        text
    }
}
