//! A service that counts, as the tests of services use it.

use redcall_common::settings::{ServiceSettings, ServiceTasks};
use redcall_worker::{HandlerError, Last, Next, ServiceRequest, Worker};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The state.
#[derive(Serialize, Deserialize)]
struct Count {
    value: i64,
    /// How many tasks have changed it.
    requests: u64,
}

/// The arguments of an `execute`.
#[derive(Deserialize)]
struct Step {
    by: i64,
    /// Fails instead, after the state was reckoned.
    #[serde(default)]
    fails: bool,
    /// How much is put into the state besides, bytes.
    #[serde(default)]
    ballast: usize,
}

/// The settings of the service: its three tasks are compiled in.
#[must_use]
pub fn counter_service() -> ServiceSettings {
    ServiceSettings::new(ServiceTasks::Compiled {
        init: Some("counter.init".to_owned()),
        execute: "counter.execute".to_owned(),
        exit: Some("counter.exit".to_owned()),
    })
}

/// Puts the tasks in.
#[must_use]
pub fn counter(worker: Worker) -> Worker {
    let worker = worker.handler("counter.init", init).handler("counter.execute", execute);
    worker.handler("counter.exit", exit)
}

async fn init(task: ServiceRequest<(), i64>) -> Next<Count, &'static str> {
    Next { state: Count { value: task.args, requests: 0 }, answer: "initialized" }
}

async fn execute(task: ServiceRequest<Count, Step>) -> Result<Next<Value, i64>, HandlerError> {
    let ServiceRequest {
        state: Count { value, requests }, args: Step { by, fails, ballast }, ..
    } = task;
    if fails {
        return Err(HandlerError::new("as requested"));
    }
    let state = json!({
        "value": value + by, "requests": requests + 1, "ballast": "x".repeat(ballast),
    });
    Ok(Next { state, answer: value + by })
}

async fn exit(task: ServiceRequest<Count, Value>) -> Last<Count> {
    Last { answer: Count { requests: task.state.requests + 1, ..task.state } }
}
