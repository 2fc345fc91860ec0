//! Several workers, several queues.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redcall_tests::Bench;
use redcall_worker::{Json, State, Worker};
use redis::AsyncCommands;
use serde_json::json;
use tokio::sync::Semaphore;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_share_the_work() {
    async fn count(done: State<Arc<AtomicUsize>>) {
        // A job of 1 ms.
        let never = std::future::pending::<()>();
        let _ = tokio::time::timeout(Duration::from_millis(1), never).await;
        done.fetch_add(1, Ordering::Relaxed);
    }
    let mut bench = Bench::new().await;
    bench.settings.worker.concurrency = 16;
    let done = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let build = |index: usize| {
        let done = done[index].clone();
        |worker: Worker| worker.state(done).handler("count", count)
    };
    let _first = bench.worker_with(build(0)).await;
    let _second = bench.worker_with(build(1)).await;
    let client = bench.client().await;
    // Its time is not tested here, on a machine of any speed.
    let call = |_| client.request("count").timeout(Duration::from_secs(100));
    let answers = client.wait_many((0..10_000).map(call)).await;
    assert!(answers.iter().all(Result::is_ok));
    let done = done.map(|done| done.load(Ordering::Relaxed));
    assert_eq!(done.iter().sum::<usize>(), 10_000);
    assert!(done.iter().all(|done| *done >= 3_000), "{done:?}");
}

#[tokio::test]
async fn a_high_priority_request_overtakes_a_thousand_low_ones() {
    /// The requests in the order of their starts, and as many permits as may end.
    struct Order(Mutex<Vec<String>>, Semaphore);
    async fn note(order: State<Arc<Order>>, Json(name): Json<String>) {
        order.0.lock().unwrap().push(name);
        order.1.acquire().await.unwrap().forget();
    }
    let order = Arc::new(Order(Mutex::default(), Semaphore::new(0)));
    let mut bench = Bench::new().await;
    bench.settings.worker.concurrency = 4;
    let client = bench.client().await;
    let low = (0..1000).map(|_| client.request("note").data("low").queue("low"));
    assert!(client.call_many(low).await.iter().all(Result::is_ok));
    client.request("note").data("high").queue("high").send().await.unwrap();
    let shared = order.clone();
    let _worker = bench.worker_with(|w| w.state(shared).handler("note", note)).await;
    let started = async |count: usize| {
        redcall_testkit::eventually("jobs to start", async || {
            (order.0.lock().unwrap().len() >= count).then_some(())
        })
        .await;
    };
    // All queues are polled in one write; a reply before `high` was seen has at most one batch of
    // free slots. No other starts before one of these ends.
    started(4).await;
    assert!(order.0.lock().unwrap().contains(&"high".to_owned()));
    order.1.add_permits(96);
    started(100).await;
}

#[tokio::test]
async fn full_worker_returns_requests_of_its_blocked_pops() {
    async fn worker_of(name: State<&'static str>) -> Json<&'static str> {
        Json(*name)
    }
    let mut bench = Bench::new().await;
    bench.settings.worker.concurrency = 1;
    let _first =
        bench.worker_with(|w| w.state("the full one").handler("worker_of", worker_of)).await;
    let client = bench.client().await;
    // The first worker now holds a job, and blocked pops on its other queues.
    client.request("sleep").data(&json!({"ms": 60_000})).send().await.unwrap();
    redcall_testkit::eventually("the first worker to be busy", async || {
        bench.workers().await.iter().any(|worker| worker.running == 1).then_some(())
    })
    .await;
    let _second =
        bench.worker_with(|w| w.state("the free one").handler("worker_of", worker_of)).await;
    for queue in ["high", "low", "high", "low"] {
        let call = client.request("worker_of").queue(queue).timeout(Duration::from_secs(5));
        let answer = call.wait().await.unwrap();
        assert_eq!(answer.json::<String>().unwrap(), "the free one");
    }
}

#[tokio::test]
async fn queue_key_of_another_type_does_not_block_other_queues() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    let () = conn.set("redcall:{high}:queue", "no list").await.unwrap();
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let call = |n: u64| {
        let call = client.request("add").data(&json!({"a": n, "b": 1}));
        call.timeout(Duration::from_secs(10))
    };
    for round in 0..5 {
        let answers = client.wait_many((0..100).map(call)).await;
        for (n, answer) in answers.into_iter().enumerate() {
            assert!(answer.is_ok(), "{round}, {n}: {answer:?}");
        }
    }
    // As soon as it is a list again, it is served.
    let () = conn.del("redcall:{high}:queue").await.unwrap();
    call(1).queue("high").wait().await.unwrap();
}
