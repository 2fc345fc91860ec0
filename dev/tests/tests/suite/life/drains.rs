//! Workers that stop while jobs run which do not end in time.

use std::sync::Arc;
use std::time::Duration;

use redcall_client::{Code, Ticket};
use redcall_common::settings::OnWorkerLoss;
use redcall_tests::{Bench, RunningWorker};
use redcall_worker::{Json, Request};
use redis::AsyncCommands;
use serde_json::Value;
use tokio::sync::Notify;

use super::{connection, dead_letter, job, keys, nothing_is_left, runs};

/// A stopping worker whose only slot is taken while another request waits.
async fn stopped(bench: &mut Bench) -> (Ticket, Ticket) {
    bench.settings.worker.drain_timeout = Duration::from_millis(50);
    bench.settings.worker.concurrency = 1;
    let (worker, runs) = worker(bench).await;
    let client = bench.client().await;
    let first = client.request("endless").submit().await.unwrap();
    runs.notified().await;
    let second = client.request("echo").data(&2).submit().await.unwrap();
    worker.drain().await;
    (first, second)
}

/// A worker whose job `endless` signals that it runs; its first run never ends.
async fn worker(bench: &Bench) -> (RunningWorker, Arc<Notify>) {
    let runs = Arc::new(Notify::new());
    let signal = Arc::clone(&runs);
    let endless = move |request: Request| {
        let signal = Arc::clone(&signal);
        async move {
            signal.notify_one();
            if request.attempt() == 1 {
                std::future::pending::<()>().await;
            }
            Json(request.attempt())
        }
    };
    (bench.worker_with(|worker| worker.handler("endless", endless)).await, runs)
}

#[tokio::test]
async fn undrained_job_reruns_first_without_a_failure() {
    let mut bench = Bench::new().await;
    job(&mut bench, "endless").max_crashes = 1;
    let (first, second) = stopped(&mut bench).await;
    let mut conn = connection(&bench).await;
    let queued: Vec<String> = conn.lrange(keys().queue(), 0, -1).await.unwrap();
    assert!(queued.len() == 2 && queued[0].contains(&first.id), "{queued:?}");
    let record: String = conn.hget(keys().attempts(), &first.id).await.unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!((&record["crashes"], &record["fails"]), (&Value::from(0), &Value::from(0)));
    let untouched: Option<String> = conn.hget(keys().attempts(), &second.id).await.unwrap();
    assert_eq!(untouched, None, "an unstarted job has no attempts");
    let _next = worker(&bench).await;
    assert_eq!(first.wait().await.unwrap().json::<u32>().unwrap(), 2);
    assert_eq!(second.wait().await.unwrap().data.get(), "2");
    nothing_is_left(&mut conn).await;
}

#[tokio::test]
async fn unrepeatable_job_is_answered_when_its_worker_stops() {
    let mut bench = Bench::new().await;
    job(&mut bench, "endless").on_worker_loss = OnWorkerLoss::Fail;
    let (first, second) = stopped(&mut bench).await;
    assert_eq!(first.wait().await.unwrap_err().code(), Code::WorkerLost);
    let mut conn = connection(&bench).await;
    let letter = dead_letter(&mut conn).await;
    assert_eq!((letter["code"].as_str(), letter["id"].as_str()), ("worker_lost", &*first.id));
    assert_eq!(runs(&letter), [(1, "worker_lost".to_owned())]);
    let _next = worker(&bench).await;
    assert_eq!(second.wait().await.unwrap().data.get(), "2");
    nothing_is_left(&mut conn).await;
}
