//! `redcall doctor`: looks at everything that may be wrong and says what to do.
//!
//! | file | looks at |
//! |---|---|
//! | `settings.rs` | what is in effect |
//! | `mapping.rs` | the programs that the mapping names |
//! | `server.rs` | Redis itself |
//! | `rights.rs` | what the user may do there |
//! | `workers.rs` | who is there, and whether they fit together |
//! | `queues.rs` | what waits, is held or has died |
//! | `schedules.rs` | whether workers map what is enqueued by the clock |
//! | `limits.rs` | limited names, and whose requests get no poll |
//! | `times.rs` | times at Redis that lie too far ahead |
//! | `states.rs` | states of services that were changed |
//! | `keys.rs` | what nothing bounds |
//! | `call.rs` | real calls, where they are asked for |
//!
//! It writes nothing to Redis, but for the calls.

mod bytes;
mod call;
mod keys;
mod limits;
mod mapping;
mod queues;
mod rights;
mod schedules;
mod server;
mod settings;
mod states;
mod times;
mod workers;

use std::time::Duration;

use clap::Args;
use redcall_client::{Inspector, Listing, Settings, StoreError};
use redcall_common::clean::clean;
use redcall_common::finding::{Finding, Level};
use redcall_common::keys::Keys;
use redcall_common::output as out;
use redcall_common::report::Problem;
use redcall_store::Connector;
use tokio::time::timeout;

use crate::Failure;

/// How long connecting may take, whatever the settings allow.
const CONNECT: Duration = Duration::from_secs(2);
/// How long all checks that ask Redis may take together.
const LOOK: Duration = Duration::from_secs(6);
/// What `redis.url` says if workers start a private server.
const EMBEDDED: &str = "embedded";

/// What to look at.
#[derive(Args)]
pub(crate) struct Doctor {
    /// Really call this job (data as JSON, else null) and say how long the answer takes
    #[arg(long, value_name = "NAME[=DATA]", value_parser = call::Trial::parse)]
    call: Vec<call::Trial>,
    /// How long each of these calls may take
    #[arg(long, value_name = "TIME", default_value = "5s", requires = "call")]
    #[arg(value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// What has been found so far.
struct Report {
    findings: Vec<Finding>,
    /// The exit code, unless the findings make it another.
    code: u8,
}

impl Doctor {
    /// Prints what it finds. The exit code is 0 if nothing is bad, 3 if Redis cannot be reached, 2
    /// if its settings cannot be used, else 1.
    pub(crate) async fn run(self, settings: Settings, as_json: bool) -> Result<u8, Failure> {
        let mut report = Report { findings: settings::look(&settings), code: 0 };
        report.findings.extend(mapping::look(&settings));
        if settings.redis.url == EMBEDDED {
            report.findings.push(server::embedded());
            report.findings.extend(self.call.first().map(|_| call::impossible()));
        } else {
            match inspect(&settings) {
                Ok(inspector) => self.ask(&inspector, &settings, &mut report).await?,
                Err(error) => report.failed(&error),
            }
        }
        match as_json {
            true => out::line(report.json())?,
            false => out::print(report.text())?,
        }
        Ok(report.exit_code())
    }

    async fn ask(
        &self,
        inspector: &Inspector,
        settings: &Settings,
        report: &mut Report,
    ) -> Result<(), Failure> {
        // Filled as it goes: when time is over, what was found is not lost.
        let asking = look(inspector, settings, &mut report.findings);
        match timeout(LOOK, asking).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                report.failed(&error);
                return Ok(());
            }
            Err(_) => {
                let what = format!("Redis did not answer all questions within {LOOK:?}");
                let means = "What is not listed here was not looked at.";
                let cure = "Look at its load (SLOWLOG GET, INFO commandstats) and at the network.";
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

/// Everything that asks Redis. An error only if there is no sense in asking on.
async fn look(
    inspector: &Inspector,
    settings: &Settings,
    findings: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    server::look(inspector, settings, findings).await?;
    findings.extend(rights::look(inspector, settings).await);
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
            findings.extend(workers::look(workers, queues, settings));
            findings.extend(queues::look(queues, settings));
            findings.push(or_unknown("bytes", bytes::look(inspector, queues, settings).await));
            findings.push(or_unknown("leases", queues::leases(inspector, queues, settings).await));
        }
        (Err(error), _) | (_, Err(error)) => findings.push(unknown("queues", error)),
    }
    let schedules = schedules::look(inspector, settings).await;
    findings.extend(schedules.unwrap_or_else(|error| vec![unknown("schedules", &error)]));
    let census = inspector.census(keys::WITHIN, keys::MOST).await;
    let sorted = census.as_ref().map_or(&[][..], |census| &census.sorted);
    let limits = limits::look(inspector, &names, settings, sorted).await;
    findings.push(or_unknown("limits", limits));
    findings.push(or_unknown("times", times::look(inspector, &names, settings).await));
    let states = census.as_ref().map_or(&[][..], |census| &census.states);
    match states::look(inspector, settings, states).await {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(unknown("states", &error)),
    }
    findings.push(or_unknown("keys", census.as_ref().map(keys::look).map_err(Clone::clone)));
    if let Some(first) = first {
        // Last: between both looks at these queues lies a while.
        findings.extend(first.look_again(inspector).await?);
    }
    Ok(())
}

fn or_unknown(check: &'static str, found: Result<Finding, StoreError>) -> Finding {
    found.unwrap_or_else(|error| unknown(check, &error))
}

/// What could not be looked at.
fn unknown(check: &'static str, error: &StoreError) -> Finding {
    let what = format!("could not be looked at: {}", with_causes(error));
    Finding::new(check, Level::Problem, what, "Nothing is known of it.", error.help())
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    Problem::of(error).whole()
}

impl Report {
    /// Redis cannot be asked.
    fn failed(&mut self, error: &StoreError) {
        self.code = Failure::exit_code(error);
        let means = "Nothing can be queued or run. What only Redis knows was not looked at.";
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

    /// For people: the findings in the order of the checks, then how many are bad.
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
        let said = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        let problems = said(count(Level::Problem), "problem");
        text.push_str(&format!("{problems}, {}\n", said(count(Level::Warning), "warning")));
        text
    }
}
