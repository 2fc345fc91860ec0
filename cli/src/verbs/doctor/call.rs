//! Real calls through Redis, the only writes of the doctor, and only if requested.

use std::time::{Duration, Instant};

use redcall_client::{Client, Settings};
use redcall_common::finding::{Finding, Level};
use serde_json::value::RawValue;

use super::failed::{CHECK_TIMEOUT, unknown, with_causes};
use crate::verbs::calls::call::unless_interrupted;
use redcall_common::failure::Failure;

const CHECK: &str = "call";
/// Grace period for queues without a worker.
const GRACE: Duration = Duration::from_millis(500);

/// A job to call, `NAME` or `NAME=DATA`.
#[derive(Debug, Clone)]
pub(super) struct TestCall {
    name: String,
    data: Box<RawValue>,
}

impl TestCall {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, data) = text.split_once('=').unwrap_or((text, "null"));
        let data = serde_json::from_str(data).map_err(|error| {
            format!(
                "the data are not valid JSON: {error}; quote them for the shell, such as 'add={{}}'"
            )
        })?;
        Ok(Self { name: name.to_owned(), data })
    }
}

/// The finding where workers use private servers.
pub(super) fn impossible() -> Finding {
    let what = "no call was made: `redis.url` is `embedded`";
    let means = "A private server has no workers.";
    let cure = "Set a Redis with --redis, `redis.url` or REDIS_URL.";
    Finding::new(CHECK, Level::Problem, what, means, cure)
}

/// Makes the calls one after the other, each within `timeout`.
pub(super) async fn make(
    test_calls: &[TestCall],
    timeout: Duration,
    settings: &Settings,
) -> Result<Vec<Finding>, Failure> {
    let mut settings = settings.clone();
    settings.client.no_workers_grace = settings.client.no_workers_grace.min(GRACE);
    let limit = CHECK_TIMEOUT.min(timeout);
    let connecting = tokio::time::timeout(limit, Client::from_settings(&settings));
    let client = match connecting.await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Ok(vec![unknown(CHECK, &error)]),
        Err(_) => {
            let what = "Redis did not accept a client in time";
            let cure = "Check its load and the network.";
            return Ok(vec![Finding::new(CHECK, Level::Problem, what, "No call was made.", cure)]);
        }
    };
    let calling = async { Ok(called(&client, test_calls, timeout).await) };
    let findings = unless_interrupted(calling).await;
    // Sends the cancellation of an interrupted call, too.
    client.flush().await;
    findings
}

async fn called(client: &Client, test_calls: &[TestCall], timeout: Duration) -> Vec<Finding> {
    let mut findings = Vec::new();
    for TestCall { name, data } in test_calls {
        let began = Instant::now();
        let answer = client.request(name).data(data).timeout(timeout).wait().await;
        let ms = began.elapsed().as_secs_f64() * 1000.0;
        findings.push(match answer {
            Ok(_) => Finding::ok(CHECK, format!("{name} answered after {ms:.1} ms")),
            Err(error) => {
                let what = format!("{name} was not answered: {}", with_causes(&error));
                let means = "Its callers get that error.";
                let cure = format!(
                    "Search the worker's log for the job's id; docs/reference/errors.md explains \
                     {}.",
                    error.code()
                );
                Finding::new(CHECK, Level::Problem, what, means, cure)
            }
        });
    }
    findings
}
