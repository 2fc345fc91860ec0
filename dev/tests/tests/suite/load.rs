//! Many calls at once: connections, leftovers, memory.

use std::time::Duration;

use redcall_testkit::eventually;
use redcall_tests::Bench;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::json;

use crate::support::{carried_out, client_connections};

/// Keys of the whole server that have no TTL.
async fn keys_without_ttl(conn: &mut MultiplexedConnection) -> Vec<String> {
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(conn).await.unwrap();
    let mut lasting = Vec::new();
    for key in keys {
        let ttl: i64 = conn.pttl(&key).await.unwrap();
        if ttl == -1 {
            lasting.push(key);
        }
    }
    lasting
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_waits_share_few_connections_and_clean_up() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let mut conn = bench.redis.connection().await;
    eventually("earlier clients to be gone", async || {
        (client_connections(&mut conn).await == 0).then_some(())
    })
    .await;
    let client = bench.client().await;
    let calls: Vec<_> = (0..10_000)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                client.call_and_wait("add", &json!({"a": n, "b": 1})).await.unwrap().data
            })
        })
        .collect();
    let during = client_connections(&mut conn).await;
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().get(), format!(r#"{{"answer":{}}}"#, n + 1));
    }
    let after = client_connections(&mut conn).await;
    assert!(during.max(after) <= 8, "{during} connections during, {after} after");
    assert_eq!(keys_without_ttl(&mut conn).await, [""; 0]);
    eventually("the read answers to be deleted", async || {
        let left: Vec<String> =
            redis::cmd("KEYS").arg("*:response:*").query_async(&mut conn).await.unwrap();
        left.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_comes_back_after_a_hundred_thousand_calls() {
    async fn used(conn: &mut MultiplexedConnection) -> u64 {
        let info: String = redis::cmd("INFO").arg("memory").query_async(conn).await.unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
        line.trim().parse().unwrap()
    }
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let mut conn = bench.redis.connection().await;
    let call = || client.request("add").data(&json!({"a": 1, "b": 1}));
    assert!(client.wait_many((0..1000).map(|_| call())).await.iter().all(Result::is_ok));
    let before = used(&mut conn).await;
    for _ in 0..20 {
        let answers = client.wait_many((0..5000).map(|_| call())).await;
        assert!(answers.iter().all(Result::is_ok));
    }
    eventually("the memory to come back", async || {
        (used(&mut conn).await < before + (5 << 20)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_batch_of_a_thousand_goes_out_in_one_command() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let mut conn = bench.redis.connection().await;
    client.call("echo", "the first subscribes and registers").await.unwrap();
    let before = carried_out(&mut conn, "evalsha").await;
    let queued = client.call_many((0..1000).map(|n| client.request("echo").data(&n))).await;
    assert!(queued.iter().all(Result::is_ok));
    assert_eq!(carried_out(&mut conn, "evalsha").await - before, 1);
}

#[tokio::test]
async fn full_queue_refuses_with_its_code() {
    let mut bench = Bench::new().await;
    bench.settings.limits.max_length = 5;
    let client = bench.client().await;
    let requests = (0..8).map(|n| client.request("echo").data(&n));
    let queued = client.call_many(requests).await;
    let codes: Vec<_> = queued.iter().map(|queued| queued.as_ref().err()).collect();
    assert!(codes[..5].iter().all(Option::is_none), "{codes:?}");
    for error in &codes[5..] {
        let error = error.unwrap();
        assert_eq!(error.code(), redcall_client::Code::Overloaded);
        assert!(!error.may_be_queued());
    }
}

#[tokio::test]
async fn a_call_ends_in_time_when_redis_is_stopped() {
    let mut bench = Bench::new().await;
    bench.settings.client.timeout = Duration::from_millis(700);
    let client = bench.client().await;
    let _worker = bench.worker().await;
    client.call_and_wait("add", &json!({"a": 1, "b": 1})).await.unwrap();
    let server = rustix::process::Pid::from_raw(bench.redis.pid().try_into().unwrap()).unwrap();
    rustix::process::kill_process(server, rustix::process::Signal::STOP).unwrap();
    let since = std::time::Instant::now();
    let error = client.call_and_wait("add", &json!({"a": 1, "b": 1})).await.unwrap_err();
    rustix::process::kill_process(server, rustix::process::Signal::CONT).unwrap();
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    assert!(error.may_be_queued(), "{error:?}");
}
