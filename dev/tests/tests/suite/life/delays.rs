//! Requests that are not due yet.

use std::time::{Duration, Instant, SystemTime};

use redcall_client::Code;
use redcall_tests::Bench;
use redcall_worker::{Json, Request};
use redis::AsyncCommands;

use super::{connection, keys, nothing_is_left};

/// How long the caller still cares, in ms.
async fn left(request: Request) -> Json<Option<u64>> {
    Json(request.remaining().map(|left| u64::try_from(left.as_millis()).unwrap()))
}

#[tokio::test]
async fn delayed_request_starts_within_100_ms_of_its_due_time() {
    let mut bench = Bench::new().await;
    // No heartbeat comes within the test: the request's own time has it start.
    bench.settings.worker.lease = Duration::from_secs(600);
    let _workers = [bench.worker().await, bench.worker().await, bench.worker().await];
    for delay in [300_i64, 50, 150] {
        let mut late = Vec::new();
        for _ in 0..5 {
            // Each client measures Redis's clock for itself.
            let client = bench.client().await;
            // Warm: connected and subscribed.
            client.call_and_wait("echo", &0).await.unwrap();
            let since = Instant::now();
            let length = Duration::from_millis(delay.unsigned_abs());
            let answer = client.request("echo").data(&1).delay(length).wait().await.unwrap();
            late.push(i64::try_from(since.elapsed().as_millis()).unwrap() - delay);
            assert_eq!(answer.data.get(), "1");
        }
        // The best of them: a busy machine makes others late, and those too early whose client it
        // stopped while it read the clock.
        let in_time = late.iter().any(|late| (0..100).contains(late));
        assert!(in_time, "due in {delay} ms, late by {late:?} ms");
    }
    nothing_is_left(&mut connection(&bench).await).await;
}

#[tokio::test]
async fn an_earlier_one_does_not_wait_for_a_later_one() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let hour = SystemTime::now() + Duration::from_secs(3600);
    client.request("echo").at(hour).send().await.unwrap();
    let soon = client.request("echo").data(&2).delay(Duration::from_millis(100));
    assert_eq!(soon.wait().await.unwrap().data.get(), "2");
    let mut conn = connection(&bench).await;
    assert_eq!(conn.zcard::<_, usize>(keys().schedule()).await.unwrap(), 1);
}

#[tokio::test]
async fn due_request_is_taken_when_a_worker_is_free() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let delay = Duration::from_millis(10);
    let ticket = client.request("echo").data(&3).delay(delay).submit().await.unwrap();
    let _worker = bench.worker().await;
    assert_eq!(ticket.wait().await.unwrap().data.get(), "3");
}

#[tokio::test]
async fn the_budget_of_a_delayed_request_starts_when_it_is_due() {
    let bench = Bench::new().await;
    let _worker = bench.worker_with(|worker| worker.handler("left", left)).await;
    let client = bench.client().await;
    let request = client.request("left").delay(Duration::from_secs(2));
    let answer = request.timeout(Duration::from_secs(10)).wait().await.unwrap();
    let left = answer.json::<Option<u64>>().unwrap().unwrap();
    // No more than eight seconds would be left of a budget that started with the call.
    assert!((8001..=10_000).contains(&left), "{left} ms left");
}

#[tokio::test]
async fn a_scheduled_request_is_cancelled_at_once() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let hour = Duration::from_secs(3600);
    let ticket = client.request("echo").delay(hour).submit().await.unwrap();
    ticket.cancel().await.unwrap();
    assert_eq!(ticket.wait().await.unwrap_err().code(), Code::Cancelled);
    nothing_is_left(&mut connection(&bench).await).await;
}
