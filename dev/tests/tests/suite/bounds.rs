//! Bounds that hold without readers, without answers, or when names change hands.

use std::time::{Duration, Instant};

use redcall_client::Code;
use redcall_common::settings::{HandlerSettings, JobSettings};
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redcall_worker::{HandlerError, Json, Request, Stop};
use serde_json::json;

use crate::support::Stopped;

#[tokio::test]
async fn unread_progress_does_not_block_its_job() {
    async fn chatty(request: Request, Json(n): Json<u64>) -> Result<Json<u64>, HandlerError> {
        for step in 0..n {
            request.progress(&step).await?;
        }
        Ok(Json(n))
    }
    let bench = Bench::new().await;
    let _worker = bench.worker_with(|w| w.handler("chatty", chatty)).await;
    let answer = bench.client().await.call_and_wait("chatty", &1500).await.unwrap();
    assert_eq!(answer.data.get(), "1500");
}

#[tokio::test]
async fn a_drain_is_bounded_although_redis_does_not_answer() {
    let mut bench = Bench::new().await;
    bench.settings.worker.drain_timeout = Duration::from_millis(500);
    let worker = bench.worker().await;
    let stopped = Stopped::new(bench.redis.pid());
    let since = Instant::now();
    worker.drain().await;
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    drop(stopped);
}

#[tokio::test]
async fn second_stop_works_without_redis() {
    let bench = Bench::new().await;
    let worker = bench.worker().await;
    let stopped = Stopped::new(bench.redis.pid());
    let since = Instant::now();
    worker.request_stop(Stop::Drain);
    worker.request_stop(Stop::Now);
    tokio::task::spawn_blocking(|| drop(worker)).await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    drop(stopped);
}

#[tokio::test]
async fn large_answers_are_settled_in_several_polls() {
    async fn large() -> Json<String> {
        Json("x".repeat(1 << 20))
    }
    let bench = Bench::new().await;
    let _worker = bench.worker_with(|w| w.handler("large", large)).await;
    let client = bench.client().await;
    let answers = client.wait_many((0..32).map(|_| client.request("large"))).await;
    for answer in answers {
        assert_eq!(answer.unwrap().data.get().len(), (1 << 20) + 2);
    }
}

#[tokio::test]
async fn parked_requests_are_taken_without_waiting_for_heartbeats() {
    let mut bench = Bench::new().await;
    bench.settings.worker.concurrency = 4;
    let mut newer = bench.settings.clone();
    newer
        .jobs
        .insert("new".into(), JobSettings::new(HandlerSettings::Compiled("builtin:echo".into())));
    let _old = bench.worker().await;
    bench.settings = newer;
    let _new = bench.worker().await;
    let client = bench.client().await;
    // Four at each heartbeat, one every half second, would take longer than a call may.
    let calls = (0..300).map(|n| client.request("new").data(&n));
    for answer in client.wait_many(calls).await {
        answer.unwrap();
    }
    eventually("nothing to be parked", async || {
        let queues = client.inspect().queues().await.unwrap();
        queues.iter().all(|queue| queue.parked == 0).then_some(())
    })
    .await;
    client.call_and_wait("add", &json!({"a": 1, "b": 1})).await.unwrap();
}

/// Two megabytes.
async fn large() -> Json<String> {
    Json("x".repeat(2_000_000))
}

#[tokio::test]
async fn unfetched_answers_refuse_new_requests_that_want_one() {
    let mut bench = Bench::new().await;
    bench.settings.limits.answers_max_bytes = 16 << 20;
    let job = JobSettings::new(HandlerSettings::Compiled("large".to_owned()));
    bench.settings.jobs = [("large".to_owned(), job)].into();
    let _worker = bench.worker_with(|w| w.handler("large", large)).await;
    let client = bench.client().await;
    let mut tickets = Vec::new();
    let error = eventually("a request to be refused", async || {
        let submitted = client.request("large").data(&()).submit().await;
        submitted.map(|ticket| tickets.push(ticket)).err()
    })
    .await;
    assert_eq!(error.code(), Code::Overloaded, "{error}");
    assert!(error.to_string().contains("answers_max_bytes"), "{error}");
    let error = client.call_and_wait("large", &()).await.err().unwrap();
    assert_eq!(error.code(), Code::Overloaded, "{error}");
    client.call("large", &()).await.unwrap();

    // Accepted calls are all there, and when they are fetched it continues.
    assert!(tickets.len() >= 8, "{} before the bound was reached", tickets.len());
    for ticket in tickets {
        assert_eq!(ticket.wait().await.unwrap().data.get().len(), 2_000_002);
    }
    eventually("a request to be accepted", async || {
        client.request("large").data(&()).submit().await.ok()
    })
    .await;
}
