//! Services: queues with state, whose requests run one at a time and in order.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod crashes;
mod life;
mod order;
mod python;

use crate::support::TIMEOUT;
use redcall_client::{CallError, Client, Response, Service};
use redcall_tests::{Bench, RunningWorker, counter, counter_service};
use serde_json::{Value, json};

/// A Redis whose workers serve `counter`.
async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    bench.settings.services.insert("counter".to_owned(), counter_service());
    bench
}

/// A worker of it, and a client.
async fn served(bench: &Bench) -> (RunningWorker, Client) {
    (bench.worker_with(counter).await, bench.client().await)
}

/// Adds to the counter.
async fn add(service: &Service, by: i64) -> Result<Response, CallError> {
    service.execute(&json!({ "by": by })).await
}

/// The answer as JSON.
#[track_caller]
fn data(answered: Result<Response, CallError>) -> Value {
    serde_json::from_str(answered.unwrap().data.get()).unwrap()
}

/// Value and count of requests in the state; none if there is no state.
async fn state(service: &Service) -> Option<(i64, u64)> {
    let state = service.state(TIMEOUT).await.unwrap()?;
    let state: Value = serde_json::from_str(state.state.get()).unwrap();
    Some((state["value"].as_i64().unwrap(), state["requests"].as_u64().unwrap()))
}
