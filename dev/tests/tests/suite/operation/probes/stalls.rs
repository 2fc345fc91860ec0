//! Stalls that make a worker unready or not live, and their reports.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use redcall_testkit::{FaultProxy, RestartableRedis, eventually};
use redcall_tests::{Bench, LEASE, binary};
use serde_json::json;

use super::{Served, address_of, try_get};
use crate::support::{Logged, SOON, blocked, unused_address};

/// A worker behind a proxy.
async fn proxied() -> (Served, FaultProxy, Bench) {
    proxied_with(LEASE).await
}

/// The same with this lease.
async fn proxied_with(lease: Duration) -> (Served, FaultProxy, Bench) {
    let bench = Bench::new().await;
    let proxy = FaultProxy::start(&bench.redis);
    let mut env = bench.environment();
    env.insert("REDIS_URL".into(), proxy.url());
    env.insert("REDCALL__WORKER__LEASE".into(), format!("{}ms", lease.as_millis()));
    (Served::start("redcall-worker", env).await, proxy, bench)
}

#[tokio::test]
async fn stalled_fetch_loop_of_one_queue_turns_readiness_red() {
    // Only the pop is late, even if the machine stops the worker for a moment.
    let (served, proxy, _bench) = proxied_with(Duration::from_secs(10)).await;
    served.becomes(200).await;
    let of_low = |exchange: &redcall_testkit::Exchange<'_>| {
        exchange.request_contains("BLMOVE") && exchange.request_contains("redcall:{low}:queue")
    };
    // The pop's own time passes, and it does not come back.
    let held = proxy.hold_reply(of_low).await;
    let red = served.becomes(503).await;
    let reasons = red.reasons();
    assert!(reasons.len() == 1 && reasons[0].starts_with("queue low: its pop has"), "{reasons:?}");
    assert!(red.json()["queues"]["low"]["seen_ms_ago"].as_u64().unwrap() < 5000);
    assert_eq!(served.get("/live").await.status, 200);
    // The next one does not come back either: it stays red, although that one is not late yet.
    let next = proxy.hold_reply(of_low);
    held.lose();
    let next = next.await;
    let reasons = served.get("/ready").await.reasons();
    assert!(reasons.iter().any(|reason| reason.contains("none has returned")), "{reasons:?}");
    next.release();
    served.becomes(200).await;
}

#[tokio::test]
async fn pop_without_a_connection_turns_readiness_red_early() {
    let (served, proxy, bench) = proxied().await;
    served.becomes(200).await;
    // It has a connection, which it will lose.
    let mut conn = bench.redis.connection().await;
    eventually("all queues to pop", async || (blocked(&mut conn).await == 3).then_some(())).await;
    let begun = Instant::now();
    proxy.refuse();
    let lost = proxy.lose_reply(|exchange| {
        exchange.request_contains("BLMOVE") && exchange.request_contains("redcall:{low}:queue")
    });
    let add = json!({"a": 1, "b": 1});
    let call = bench.client().await.request("add").data(&add).queue("low").submit().await.unwrap();
    lost.await;
    let reasons = served.becomes(503).await.reasons();
    assert!(reasons[0].starts_with("queue low: its last pop failed"), "{reasons:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    proxy.pass();
    served.becomes(200).await;
    call.wait().await.unwrap();
}

#[tokio::test]
async fn silent_redis_turns_readiness_red_within_a_lease() {
    let (served, proxy, _bench) = proxied().await;
    served.becomes(200).await;
    proxy.hold_replies();
    let begun = Instant::now();
    served.becomes(503).await;
    let took = begun.elapsed();
    // The seconds beyond the lease are for a machine that stops the worker or this test.
    assert!(took < LEASE + Duration::from_secs(2), "{took:?}");
    assert_eq!(served.get("/live").await.status, 200);
    let begun = Instant::now();
    let metrics = served.metrics().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(metrics.contains_key("redcall_takeovers_total"), "{metrics:?}");
    assert!(!metrics.keys().any(|name| name.starts_with("redcall_queue")), "{metrics:?}");
    proxy.pass();
    served.becomes(200).await;
}

#[tokio::test]
async fn a_worker_that_only_starts_lives_but_is_not_ready() {
    let bench = Bench::new().await;
    let proxy = FaultProxy::start(&bench.redis);
    proxy.hold_replies();
    let mut env = bench.environment();
    env.insert("REDIS_URL".into(), proxy.url());
    env.insert("REDCALL__ADMIN__LISTEN".into(), "127.0.0.1:0".into());
    let program = Logged::start("redcall-worker", &[], &env);
    let address = address_of(&program).await;
    let ready = try_get(address, "/ready").await.unwrap();
    assert_eq!((ready.status, ready.reasons()), (503, vec!["starting".to_owned()]));
    assert_eq!(try_get(address, "/live").await.unwrap().status, 200);
    proxy.pass();
    eventually("it to be ready", async || {
        (try_get(address, "/ready").await?.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn worker_without_a_renewed_lease_is_not_ready() {
    let (served, proxy, _bench) = proxied().await;
    served.becomes(200).await;
    // Only the connection of the heartbeats stalls.
    let held = proxy.hold_reply(|exchange| {
        exchange.request_contains("EVALSHA")
            && exchange.request_contains("{high}:names")
            && !exchange.request_contains(":inbox:")
    });
    let held = held.await;
    let reasons = served.becomes(503).await.reasons();
    let of_lease = "queue high: the worker's lease on the queue was last renewed ";
    assert!(reasons.iter().any(|reason| reason.starts_with(of_lease)), "{reasons:?}");
    // Nor does it lease a probe any more.
    eventually("the probe to stay out", async || {
        let reasons = served.get("/ready").await.reasons();
        reasons
            .iter()
            .any(|reason| reason.starts_with("the probe has been in flight"))
            .then_some(())
    })
    .await;
    held.release();
    served.becomes(200).await;
}

#[tokio::test]
async fn unsettled_probe_makes_the_worker_not_ready() {
    let (served, proxy, _bench) = proxied().await;
    served.becomes(200).await;
    // Only the connection of the polls stalls: pops and heartbeats continue.
    let held = proxy.hold_reply(|exchange| {
        // A poll that only settles.
        exchange.request_contains("EVALSHA")
            && exchange.request_contains(":probe:")
            && exchange.request_contains("\r\n-1\r\n")
    });
    let red = served.becomes(503);
    let (held, red) = tokio::join!(held, red);
    let reasons = red.reasons();
    assert!(
        reasons.iter().any(|reason| reason.starts_with("the probe has been in flight")),
        "{reasons:?}"
    );
    held.release();
    served.becomes(200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_is_red_without_redis_and_green_a_second_after() {
    let mut redis = RestartableRedis::start().await;
    let url = redis.settings().url;
    let env = BTreeMap::from([
        ("REDIS_URL".to_owned(), url),
        ("REDCALL__JOBS__ADD__HANDLER".to_owned(), "builtin:add".to_owned()),
    ]);
    let served = Served::start("redcall-worker", env).await;
    served.becomes(200).await;
    redis.kill();
    let begun = Instant::now();
    served.becomes(503).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    // A pop may notice first.
    eventually("it to report that", async || {
        let reasons = served.get("/ready").await.reasons();
        reasons.iter().any(|reason| reason == "no connection to Redis").then_some(())
    })
    .await;
    assert_eq!(served.get("/live").await.status, 200);
    let metrics = served.metrics().await;
    assert!(metrics.contains_key(r#"redcall_slots{state="free"}"#), "{metrics:?}");
    assert!(!metrics.keys().any(|name| name.starts_with("redcall_queue")), "{metrics:?}");
    redis.start_again().await;
    let begun = Instant::now();
    served.becomes(200).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    // The empty reading holds for a second.
    served.counts(r#"redcall_queue_length{queue="low"}"#, 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_loop_is_not_live() {
    let bench = Bench::new().await;
    let mut env = bench.environment();
    // Its log blocks, and is not read: when the pipe is full, the loop stops at its next line.
    let port = unused_address();
    env.insert("REDCALL__ADMIN__LISTEN".into(), port.to_string());
    env.insert("REDCALL__JOBS__SLEEP__TIMEOUT".into(), "1ms".into());
    let mut program = Command::new(binary("blocking_log"))
        .env_clear()
        .envs(&env)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the worker to live", async || try_get(port, "/live").await).await;
    let client = bench.client().await;
    let jobs = (0..2000).map(|_| client.request("sleep").data(&json!({"ms": 60_000})));
    client.call_many(jobs).await;
    let dead = eventually("the loop to be missed", async || {
        let answer = try_get(port, "/live").await?;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(dead.body.contains("has stalled for"), "{}", dead.body);
    let ready = try_get(port, "/ready").await.unwrap();
    assert_eq!(ready.reasons(), ["the I/O loop does not answer"]);
    let mut stderr = program.stderr.take().unwrap();
    let reading = std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    eventually("the loop to go on", async || {
        (try_get(port, "/live").await?.status == 200).then_some(())
    })
    .await;
    program.kill().unwrap();
    program.wait().unwrap();
    reading.join().unwrap().unwrap();
}
