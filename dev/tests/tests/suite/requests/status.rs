//! The status of jobs: read, and followed to the end.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod ends;
mod follow;
mod joined;
mod kept;

use std::sync::Arc;
use std::time::Duration;

use redcall_client::{CallError, Code, JobState, JobStatus, StatusStream};
use redcall_tests::{Bench, RunningWorker};
use redcall_worker::{HandlerError, Json, Request, State};
use redis::AsyncCommands;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use JobState::{Error, Pending, Processing, Success};

/// For how long these tests have a status kept.
const KEPT: Duration = Duration::from_secs(60);
/// Longer than anything takes here, and shorter than a monitor's pause between reads.
const SOON: Duration = Duration::from_secs(9);

/// Jobs wait here until the test releases them.
#[derive(Clone)]
struct Gate(Arc<Semaphore>);

impl Gate {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    fn open(&self, runs: usize) {
        self.0.add_permits(runs);
    }
}

/// Waits for its gate; fails as many times as its data state, then answers with its run's number.
async fn gated(
    request: Request,
    gate: State<Gate>,
    Json(fails): Json<Option<u32>>,
) -> Result<Json<u32>, HandlerError> {
    gate.0.acquire().await.unwrap().forget();
    if request.attempt() <= fails.unwrap_or(0) {
        return Err(HandlerError::new(format!("run {}", request.attempt())));
    }
    Ok(Json(request.attempt()))
}

/// A worker that has the job `gated`.
async fn worker(bench: &Bench, gate: &Gate) -> RunningWorker {
    let gate = gate.clone();
    bench.worker_with(|worker| worker.state(gate).handler("gated", gated)).await
}

/// States and attempts, as tests compare them.
fn shown(states: &[JobStatus]) -> Vec<(JobState, u32)> {
    states.iter().map(|status| (status.state, status.attempt)).collect()
}

/// The next state of a monitor, which comes soon.
async fn next(monitor: &mut StatusStream) -> JobStatus {
    timeout(SOON, monitor.next()).await.expect("a state in time").unwrap().unwrap()
}

/// All states of a monitor, to its end.
async fn rest(monitor: &mut StatusStream) -> Vec<JobStatus> {
    let mut states = Vec::new();
    while let Some(status) = timeout(SOON, monitor.next()).await.expect("a state in time") {
        states.push(status.unwrap());
    }
    states
}

/// The code of the error with which a job ended.
#[track_caller]
fn code(status: &JobStatus) -> Code {
    assert_eq!(status.state, Error, "{status:?}");
    status.error.as_ref().unwrap().code
}

#[track_caller]
fn is_not_found<T>(result: Result<T, CallError>) {
    let error = result.err().unwrap();
    assert_eq!(error.code(), Code::NotFound, "{error}");
}

/// The record of a request at Redis.
async fn record(bench: &Bench, id: &str) -> Vec<String> {
    bench.redis.connection().await.lrange(key(id), 0, -1).await.unwrap()
}

fn key(id: &str) -> String {
    format!("redcall:{{default}}:status:{id}")
}
