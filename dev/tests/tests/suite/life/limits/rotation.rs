//! Customers of a limited job whose keys at Redis had other values for a moment: they continue.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::settings::{Limit, Rate};
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redcall_worker::State;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::life::{connection, job, keys, nothing_is_left};
use crate::support::carried_out;

/// Each order waits here for a permit.
type Gate = Arc<Semaphore>;

async fn order(gate: State<Gate>) {
    if let Ok(permit) = gate.acquire().await {
        permit.forget();
    }
}

fn key(what: &str) -> String {
    format!("{}:{what}", keys().base())
}

/// Queues orders of a customer.
async fn orders(conn: &mut MultiplexedConnection, customer: &str, numbers: std::ops::Range<usize>) {
    let data = json!({ "customer": customer });
    let order = |n| format!(r#"{{"id":"{customer}-{n}","name":"order","data":{data}}}"#);
    let () = conn.rpush(keys().queue(), numbers.map(order).collect::<Vec<_>>()).await.unwrap();
}

/// Nothing waits and nothing runs.
async fn all_done(conn: &mut MultiplexedConnection, what: &str) {
    eprintln!("{what}");
    eventually("all orders to end", async || {
        let left = [keys().queue(), keys().live(), keys().limited_names(), keys().permits()];
        let lists = [key("limited:order:a"), key("limited:order:b")];
        let left: usize = conn.exists([&left[..], &lists[..]].concat()).await.unwrap();
        (left == 0).then_some(())
    })
    .await;
}

/// A job with a concurrency limit of one per customer, and a rate per second.
fn limited(bench: &mut Bench, rate: Option<u32>) {
    bench.settings.worker.queues = vec!["default".to_owned()];
    let rate = rate.map(|count| Rate { count, per: Duration::from_secs(1) });
    job(bench, "order").limit =
        Some(Limit { key: Some("customer".into()), concurrency: Some(1), rate });
}

#[tokio::test]
async fn customer_whose_keys_had_another_type_for_a_moment_runs_on() {
    let spoilt = [
        "rotation:order",
        "held:order",
        "limited",
        "running:order:a",
        "permits",
        "limit_keys:order",
        "rate:order:a",
        "throttled",
    ];
    for what in spoilt {
        let mut bench = Bench::new().await;
        limited(&mut bench, Some(1000));
        let gate = Gate::new(Semaphore::new(0));
        let build = |worker: redcall_worker::Worker| {
            worker.state::<Gate>(gate.clone()).handler("order", order)
        };
        let _worker = bench.worker_with(build).await;
        let mut conn = connection(&bench).await;
        for customer in ["a", "b"] {
            orders(&mut conn, customer, 0..3).await;
        }
        eventually("one order of each to run, and the others to wait", async || {
            let running: usize = conn.hlen(keys().live()).await.unwrap();
            let partitioned: Option<u64> =
                conn.hget(keys().limited_names(), "order").await.unwrap();
            (running == 2 && partitioned == Some(4)).then_some(())
        })
        .await;
        let () = conn.del(key(what)).await.unwrap();
        let () = conn.set(key(what), "x").await.unwrap();
        // More come meanwhile: nothing of them may be lost, either.
        orders(&mut conn, "a", 3..4).await;
        heartbeats(&mut conn).await;
        let () = conn.del(key(what)).await.unwrap();
        gate.add_permits(100);
        all_done(&mut conn, what).await;
        nothing_is_left(&mut conn).await;
    }
}

/// Waits until a worker has had two rounds of heartbeats: each checks live ids.
async fn heartbeats(conn: &mut MultiplexedConnection) {
    let before = carried_out(conn, "hrandfield").await;
    eventually("two rounds of heartbeats", async || {
        (carried_out(conn, "hrandfield").await >= before + 6).then_some(())
    })
    .await;
}

#[tokio::test]
async fn customer_with_a_rate_an_hour_ahead_continues() {
    let mut bench = Bench::new().await;
    limited(&mut bench, Some(2));
    let gate = Gate::new(Semaphore::new(100));
    let mut conn = connection(&bench).await;
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query_async(&mut conn).await.unwrap();
    // As a clock leaves it behind that was an hour ahead: of `a` both times, of `b` its pace.
    let ahead = seconds + 3600;
    for customer in ["a", "b"] {
        let rate = key(&format!("rate:order:{customer}"));
        let () = conn.set(rate, ahead * 1_000_000).await.unwrap();
        orders(&mut conn, customer, 0..2).await;
    }
    let () = conn.zadd(keys().throttled(), "order a", ahead * 1000).await.unwrap();
    let build =
        |worker: redcall_worker::Worker| worker.state::<Gate>(gate.clone()).handler("order", order);
    let _worker = bench.worker_with(build).await;
    all_done(&mut conn, "rate").await;
}

#[tokio::test]
async fn dead_worker_with_a_lease_an_hour_ahead_is_taken_over() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let call = client.request("echo").data(&7).submit().await.unwrap();
    assert_eq!(super::dies(&bench, "ghost", 1).await, 1);
    let mut conn = connection(&bench).await;
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query_async(&mut conn).await.unwrap();
    let () = conn.zadd(keys().workers(), "ghost", (seconds + 3600) * 1000).await.unwrap();
    let info = json!({"id": "ghost", "name": "ghost", "host": "h", "pid": 1, "version": "0",
        "started_at": 0, "state": "running", "queues": [], "jobs": [], "concurrency": 1,
        "running": 1, "overdue": [], "lease_ms": 500});
    let () = conn.set(keys().worker("ghost"), info.to_string()).await.unwrap();
    assert!(bench.workers().await.is_empty(), "it does not count as alive");
    let _worker = bench.worker().await;
    assert_eq!(call.wait().await.unwrap().data.get(), "7");
    let left: Option<f64> = conn.zscore(keys().workers(), "ghost").await.unwrap();
    assert_eq!(left, None);
}
