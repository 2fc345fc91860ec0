//! The setup of documentation examples: a private Redis, a worker, and a client.
//!
//! An example calls one of these functions in hidden lines, so that its visible lines are those of
//! a user. Each function ends worker and server before it returns.

use std::error::Error;
use std::time::Duration;

use redcall_client::{CallError, Client};
use redcall_common::settings::{
    HandlerSettings, JobSettings, ServiceSettings, ServiceTasks, Settings,
};
use redcall_worker::{Last, Next, ServiceRequest, Stop, Worker};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{TestRedis, eventually};

/// The other end, for the hidden lines of examples: neither end depends on the other.
pub use {redcall_client, redcall_worker};

/// The time limit of an example: reached only by a failing one.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The result of an example.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Runs an example with a client.
///
/// A worker serves the built-in jobs `add`, `count`, `echo`, `fail` and `sleep`, and the service
/// `counter`, whose state is a number.
///
/// # Panics
/// When the example returns an error, or server or worker do not start.
pub fn with_client(example: impl AsyncFnOnce(Client) -> Outcome) {
    with_settings(async |settings| example(Client::from_settings(&settings).await?).await);
}

/// As [`with_client`], with the settings instead of a client.
///
/// # Panics
/// As [`with_client`].
pub fn with_settings(example: impl AsyncFnOnce(Settings) -> Outcome) {
    let build = |mut settings: Settings| {
        settings.services = [("counter".to_owned(), counter())].into();
        for name in ["add", "count", "echo", "fail", "sleep"] {
            let handler = HandlerSettings::Compiled(format!("builtin:{name}"));
            settings.jobs.insert(name.to_owned(), JobSettings::new(handler));
        }
        let worker = Worker::from_settings(settings)?.handler("counter.init", init);
        Ok(worker.handler("counter.execute", execute).handler("counter.exit", exit))
    };
    run(build, example);
}

/// Runs an example with the worker that `build` returns, and a client.
///
/// # Panics
/// As [`with_client`].
pub fn with_worker(
    build: impl FnOnce(Settings) -> Outcome<Worker>,
    example: impl AsyncFnOnce(Client) -> Outcome,
) {
    run(build, async |settings| example(Client::from_settings(&settings).await?).await);
}

/// Calls `job` once its worker runs, and then stops this process as an operator does, by SIGTERM:
/// for examples whose worker runs until then. Await the task after the worker: it fails if the
/// answer differs from `expected`.
///
/// # Panics
/// Outside of a runtime. The task panics if the call fails.
#[must_use]
pub fn call_and_stop(
    settings: &Settings,
    job: &'static str,
    data: &Value,
    expected: &Value,
) -> JoinHandle<()> {
    let (settings, data, expected) = (settings.clone(), data.clone(), expected.clone());
    tokio::spawn(async move {
        let answer = answer(&settings, job, &data).await;
        kill_process(getpid(), Signal::TERM).unwrap();
        assert_eq!(answer.unwrap(), expected);
    })
}

async fn answer(settings: &Settings, job: &str, data: &Value) -> Result<Value, CallError> {
    let client = Client::from_settings(settings).await?;
    client.call_and_wait(job, data).await?.json()
}

/// A service whose tasks are compiled in, under the names `counter.init`, `counter.execute` and
/// `counter.exit`.
#[must_use]
pub fn counter() -> ServiceSettings {
    ServiceSettings::new(ServiceTasks::Compiled {
        init: Some("counter.init".to_owned()),
        execute: "counter.execute".to_owned(),
        exit: Some("counter.exit".to_owned()),
    })
}

/// `1000` -> the state 1000.
async fn init(request: ServiceRequest<(), i64>) -> Next<i64, i64> {
    Next { state: request.args, answer: request.args }
}

/// `-100` -> the state less 100.
async fn execute(request: ServiceRequest<i64, i64>) -> Next<i64, i64> {
    let value = request.state + request.args;
    Next { state: value, answer: value }
}

/// The last state.
async fn exit(request: ServiceRequest<i64, Value>) -> Last<i64> {
    Last { answer: request.state }
}

fn run(
    build: impl FnOnce(Settings) -> Outcome<Worker>,
    example: impl AsyncFnOnce(Settings) -> Outcome,
) {
    let runtime = redcall_worker::handler_runtime().expect("a runtime");
    runtime.block_on(async {
        let redis = TestRedis::start().await;
        let settings = Settings { redis: redis.settings(), ..Settings::default() };
        let worker = build(settings.clone()).expect("a worker");
        let readiness = worker.readiness();
        let (stop, stopped) = watch::channel(Stop::No);
        let mut running = tokio::spawn(worker.run_until(stopped));
        let ready = eventually("the worker to be ready", async || readiness.check().await.ok());
        tokio::select! {
            () = ready => {}
            ended = &mut running => panic!("the worker has ended: {ended:?}"),
        }
        let outcome = timeout(TIMEOUT, example(settings)).await.expect("an end of the example");
        stop.send_replace(Stop::Now);
        running.await.expect("the worker's task").expect("the worker");
        outcome.expect("the example");
    });
}
