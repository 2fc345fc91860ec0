//! The service behind the gateway, and the settings of both.

use std::net::SocketAddr;
use std::time::Duration;

use redcall_worker::{HandlerError, Last, Next, ServiceRequest, Worker};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::client::TOKEN;
use crate::support::codes::error;
use crate::support::{RunningGateway, RunningWorker, Stage};

pub(crate) const SERVICES: &str = r#"
[services.counter]
init = "counter.init"
execute = "counter.execute"
exit = "counter.exit"
"#;

/// The settings of a gateway; `more` are further keys of its door.
pub(crate) fn door(more: &str) -> String {
    format!(
        "[gateways.counter]\nprotocol = \"bgpy\"\nlisten = \"127.0.0.1:0\"\n\
         service = \"counter\"\ntoken = \"{TOKEN}\"\n{more}\n"
    )
}

#[derive(Serialize, Deserialize)]
struct Counter {
    n: u64,
    value: i64,
}

#[derive(Deserialize)]
struct Args {
    #[serde(default)]
    command: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    value_change: i64,
    x: Option<Box<RawValue>>,
}

async fn init(request: ServiceRequest<(), Box<RawValue>>) -> Next<Counter, Box<RawValue>> {
    Next { state: Counter { n: 0, value: 1000 }, answer: request.args }
}

async fn execute(
    request: ServiceRequest<Counter, Args>,
) -> Result<Next<Counter, Box<RawValue>>, HandlerError> {
    let ServiceRequest { state, args, .. } = request;
    let mut state = Counter { n: state.n + 1, ..state };
    let answer = match args.command.as_str() {
        "fail" => return Err(HandlerError::new("the task failed")),
        "code" => return Err(error(&args.code)),
        "sleep" => std::future::pending().await,
        "add" => {
            state.value += args.value_change;
            to_raw_value(&state.value)
        }
        "none" => to_raw_value(&()),
        "big" => to_raw_value(&json!({"big": "x".repeat(6 << 20)})),
        "echo" => to_raw_value(&Echo { echo: args.x.unwrap_or_default(), n: state.n }),
        _ => to_raw_value(&json!({"n": state.n})),
    };
    Ok(Next { state, answer: answer? })
}

#[derive(Serialize)]
struct Echo {
    echo: Box<RawValue>,
    n: u64,
}

async fn exit(request: ServiceRequest<Counter, Args>) -> Last<serde_json::Value> {
    Last { answer: json!({"n": request.state.n}) }
}

/// Starts a worker of the service.
pub(crate) async fn worker(stage: &Stage) -> RunningWorker {
    stage.worker_of(stage.settings(SERVICES), with_tasks).await
}

/// Adds the tasks of the service to a worker.
pub(crate) fn with_tasks(worker: Worker) -> Worker {
    let worker = worker.handler("counter.init", init);
    worker.handler("counter.execute", execute).handler("counter.exit", exit)
}

/// Starts a worker and a gateway; `more` are further keys of its door.
pub(crate) async fn start(more: &str) -> (Stage, RunningWorker, RunningGateway, SocketAddr) {
    let stage = Stage::new().await;
    let worker = worker(&stage).await;
    let gateway = stage.gateway(&door(more)).await;
    let address = gateway.address("counter", "listen");
    (stage, worker, gateway, address)
}

/// Longer than the pace, shorter than a wait that fails.
pub(crate) const SHORT: Duration = Duration::from_secs(3);
