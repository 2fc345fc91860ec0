//! Jobs that fail and are tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redcall_client::{Code, Update};
use redcall_common::settings::{BackoffKind, Retries};
use redcall_tests::{Bench, RunningWorker};
use redcall_worker::{HandlerError, Json, Request, State};
use serde_json::{Value, json};

use super::{connection, dead_letter, job, nothing_is_left, runs};

/// Counts its runs.
#[derive(Clone, Default)]
struct Runs(Arc<AtomicU32>);

impl Runs {
    fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Fails as many times as its data state, then answers with the number of its run.
async fn shaky(
    request: Request,
    runs: State<Runs>,
    Json(fails): Json<u32>,
) -> Result<Json<u32>, HandlerError> {
    runs.0.fetch_add(1, Ordering::SeqCst);
    if request.attempt() <= fails {
        return Err(HandlerError::new(format!("run {}", request.attempt())));
    }
    Ok(Json(request.attempt()))
}

fn quickly(max: u32) -> Retries {
    let base = Duration::from_millis(2);
    Retries { max, base, cap: base, ..Retries::default() }
}

async fn worker(bench: &Bench) -> (RunningWorker, Runs) {
    let runs = Runs::default();
    let state = runs.clone();
    let build = |worker: redcall_worker::Worker| worker.state(state).handler("shaky", shaky);
    (bench.worker_with(build).await, runs)
}

#[tokio::test]
async fn waiting_caller_gets_the_successful_attempts_answer() {
    let mut bench = Bench::new().await;
    job(&mut bench, "shaky").retries = quickly(2);
    let (_worker, runs) = worker(&bench).await;
    let client = bench.client().await;
    let answer = client.call_and_wait("shaky", &2).await.unwrap();
    assert_eq!((answer.json::<u32>().unwrap(), runs.count()), (3, 3));
    let mut conn = connection(&bench).await;
    nothing_is_left(&mut conn).await;
}

#[tokio::test]
async fn follower_sees_each_attempt_and_the_last_outcome() {
    let mut bench = Bench::new().await;
    job(&mut bench, "shaky").retries = quickly(2);
    let (_worker, _) = worker(&bench).await;
    let client = bench.client().await;
    let mut stream = client.request("shaky").data(&2).stream().await.unwrap();
    let mut seen = Vec::new();
    while let Some(update) = stream.next().await {
        seen.push(match update.unwrap() {
            Update::Progress(notice) => {
                let notice: Value = serde_json::from_str(notice.get()).unwrap();
                assert!(notice["retry_in_ms"].as_u64().unwrap() <= 2, "{notice}");
                format!("{} {}", notice["attempt"], notice["error"]["message"])
            }
            Update::Pending => "pending".to_owned(),
            Update::Deferred { data, .. } => format!("deferred {data}"),
            Update::Restarted { attempt } => format!("restarted {attempt}"),
            Update::Done(response) => format!("done {}", response.data.get()),
            Update::Chunk(_) => unreachable!("it sends none"),
        });
    }
    let expected = [r#"1 "run 1""#, "restarted 2", r#"2 "run 2""#, "restarted 3", "done 3"];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn exhausted_retries_are_answered_and_dead_lettered() {
    let mut bench = Bench::new().await;
    job(&mut bench, "shaky").retries = quickly(2);
    let (_worker, count) = worker(&bench).await;
    let error = bench.client().await.call_and_wait("shaky", &9).await.unwrap_err();
    assert_eq!((error.code(), count.count()), (Code::HandlerFailed, 3));
    assert!(error.to_string().contains("run 3"), "{error}");
    let mut conn = connection(&bench).await;
    let letter = dead_letter(&mut conn).await;
    assert_eq!(letter["code"], "handler_failed");
    let failed = |attempt| (attempt, "handler_failed".to_owned());
    assert_eq!(runs(&letter), [failed(1), failed(2), failed(3)]);
    let history: Vec<Value> = serde_json::from_str(&letter["history"]).unwrap();
    for (run, message) in history.iter().zip(["run 1", "run 2", "run 3"]) {
        assert_eq!((&run["message"], &run["worker"]), (&json!(message), &json!(letter["worker"])));
        assert!(run["started_at"].as_u64() <= run["ended_at"].as_u64(), "{run}");
    }
    nothing_is_left(&mut conn).await;
}

#[tokio::test]
async fn retry_does_not_need_a_waiting_caller() {
    let mut bench = Bench::new().await;
    job(&mut bench, "shaky").retries = quickly(1);
    let (_worker, count) = worker(&bench).await;
    bench.client().await.call("shaky", &1).await.unwrap();
    redcall_testkit::eventually("the second run", async || (count.count() == 2).then_some(()))
        .await;
    let mut conn = connection(&bench).await;
    nothing_is_left(&mut conn).await;
}

#[tokio::test]
async fn only_the_codes_of_the_mapping_are_retried() {
    let mut bench = Bench::new().await;
    job(&mut bench, "shaky").retries = Retries { on: vec![Code::Timeout], ..quickly(5) };
    let (_worker, count) = worker(&bench).await;
    let error = bench.client().await.call_and_wait("shaky", &9).await.unwrap_err();
    assert_eq!((error.code(), count.count()), (Code::HandlerFailed, 1));
}

#[tokio::test]
async fn a_retry_that_would_start_after_the_budget_is_not_scheduled() {
    let mut bench = Bench::new().await;
    let day = Duration::from_secs(86_400);
    let backoff = BackoffKind::Constant;
    let retries = Retries { max: 5, backoff, base: day, cap: day, ..Retries::default() };
    job(&mut bench, "shaky").retries = retries;
    let (_worker, count) = worker(&bench).await;
    // Drawn from a day, the pause is longer than ten seconds 8,639 times of 8,640.
    let call = bench.client().await;
    let call = call.request("shaky").data(&9).timeout(Duration::from_secs(10));
    let error = call.wait().await.unwrap_err();
    assert_eq!((error.code(), count.count()), (Code::HandlerFailed, 1));
}

#[tokio::test]
async fn a_handler_that_runs_too_long_is_tried_again() {
    async fn slow(request: Request) -> Json<u32> {
        if request.attempt() == 1 {
            std::future::pending::<()>().await;
        }
        Json(request.attempt())
    }
    let mut bench = Bench::new().await;
    let slow_job = job(&mut bench, "slow");
    slow_job.retries = quickly(1);
    // The second run has to end within it, on a machine that stops processes for a moment.
    slow_job.timeout = Duration::from_secs(1);
    let _worker = bench.worker_with(|worker| worker.handler("slow", slow)).await;
    let answer = bench.client().await.call_and_wait("slow", &()).await.unwrap();
    assert_eq!(answer.json::<u32>().unwrap(), 2);
}
