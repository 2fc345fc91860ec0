//! A worker is ready while it consumes, in spite of its handlers and its queues.

use std::time::Instant;

use redcall_testkit::eventually;
use redcall_tests::Bench;
use redis::AsyncCommands;
use serde_json::json;

use super::Served;
use crate::support::{blocked, carried_out, cut, is_registry, keys};

/// Longer than a machine stops a process: a worker with this lease does not become unready for it.
const LONG_LEASE: &str = "10s";

/// No time that a healthy worker reports is as long, ms.
const MUCH: f64 = 5000.0;

/// A worker of `bench` with the long lease and these variables.
async fn patient(bench: &Bench, variables: &[(&str, &str)]) -> Served {
    let mut env = bench.environment();
    let variables = [&[("REDCALL__WORKER__LEASE", LONG_LEASE)], variables].concat();
    env.extend(variables.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())));
    Served::start("redcall-worker", env).await
}

#[tokio::test]
async fn idle_worker_is_ready_and_its_probe_leaves_no_request() {
    let bench = Bench::new().await;
    let served = Served::of(&bench).await;
    let answer = served.becomes(200).await;
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    let mut report = answer.json();
    let probe_ms = report["probe_ms"].take().as_f64().unwrap();
    assert!(probe_ms > 0.0 && probe_ms < MUCH, "{probe_ms}");
    for queue in ["high", "default", "low"] {
        let seen = report["queues"][queue]["seen_ms_ago"].take();
        assert!(seen.as_f64().unwrap() < MUCH, "{queue}: {seen}");
    }
    let none = json!({"seen_ms_ago": null});
    let queues = json!({"high": none, "default": none, "low": none});
    let expected = json!({"ready": true, "reasons": [], "queues": queues, "probe_ms": null});
    assert_eq!(report, expected);

    let mut conn = bench.redis.connection().await;
    let of_probes = |key: &String| key.starts_with("redcall:{high}:probe:");
    let (probes, others): (Vec<String>, Vec<String>) =
        keys(&mut conn).await.into_iter().partition(of_probes);
    assert!(!probes.is_empty());
    for key in probes {
        let ttl: i64 = conn.pttl(&key).await.unwrap();
        assert!((1..=60_000).contains(&ttl), "{key} goes in {ttl} ms");
    }
    for key in others {
        let as_default = key.replace("{high}", "{default}").replace("{low}", "{default}");
        assert!(is_registry(&as_default) && !key.contains(":poll:"), "{key}");
    }
    let seen = bench.client().await.inspect().queues().await.unwrap();
    let names: Vec<&str> = seen.iter().map(|queue| queue.queue.as_str()).collect();
    assert_eq!(names, ["default", "high", "low"]);
    assert!(seen.iter().all(|queue| queue.length + queue.running + queue.dead == 0), "{seen:?}");
    let metrics = served.metrics().await;
    assert!(!metrics.keys().any(|name| name.starts_with("redcall_jobs_total")), "{metrics:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probe_runs_about_once_a_second_however_often_it_is_queried() {
    let bench = Bench::new().await;
    let served = patient(&bench, &[]).await;
    let mut conn = bench.redis.connection().await;
    let begun = Instant::now();
    let mut requests = 0;
    // For two seconds, and for many more checks than it makes probes.
    while begun.elapsed().as_millis() < 2200 || requests <= 100 {
        let gets = (0..20).map(|_| served.get("/ready"));
        for answer in futures_util::future::join_all(gets).await {
            assert_eq!(answer.status, 200, "{}", answer.body);
            // The queue is idle, and a pop blocks for longer: each probe reads.
            for (queue, seen) in answer.json()["queues"].as_object().unwrap() {
                assert!(seen["seen_ms_ago"].as_f64().unwrap() < MUCH, "{queue}: {}", answer.body);
            }
            requests += 1;
        }
    }
    let seconds = begun.elapsed().as_secs() + 1;
    // Nothing else pushes at a tail here.
    let probes = carried_out(&mut conn, "rpush").await;
    assert!(probes >= 2 && probes <= seconds, "{probes} probes in {seconds} s");
}

#[tokio::test]
async fn worker_at_full_capacity_is_ready() {
    let bench = Bench::new().await;
    let served = patient(&bench, &[("REDCALL__WORKER__CONCURRENCY", "1")]).await;
    let client = bench.client().await;
    client.call("sleep", &json!({"ms": 600_000})).await.unwrap();
    client.call("sleep", &json!({"ms": 600_000})).await.unwrap();
    served.counts(r#"redcall_slots{state="free"}"#, 0.0).await;
    let report = served.becomes(200).await.json();
    assert!(report["queues"]["low"]["seen_ms_ago"].as_f64().unwrap() < MUCH, "{report}");
    served.counts(r#"redcall_queue_length{queue="default"}"#, 1.0).await;
    // Its pops cannot start again before a slot is free: its polls show progress.
    let mut conn = bench.redis.connection().await;
    let killed = cut(&mut conn, "redcall-worker-").await;
    // All but the one whose pop brought the job that runs: nothing is out there.
    served.counts("redcall_reconnects_total", killed as f64 - 1.0).await;
    served.becomes(200).await;
}

#[tokio::test]
async fn handlers_that_block_all_their_threads_stall_no_probe() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut env = bench.environment();
    env.insert("MORTAL_FOLDER".into(), folder.path().to_str().unwrap().into());
    env.insert("REDCALL__WORKER__LEASE".into(), LONG_LEASE.into());
    let served = Served::start("mortal", env).await;
    let client = bench.client().await;
    // As many threads as handlers have.
    let threads = std::thread::available_parallelism().map_or(4, |cores| cores.get().max(4));
    for _ in 0..threads {
        client.call("blocks", &()).await.unwrap();
    }
    eventually("all threads to be blocked", async || {
        let effects = std::fs::read_to_string(folder.path().join("effects")).unwrap_or_default();
        (effects.lines().count() == threads).then_some(())
    })
    .await;
    for _ in 0..3 {
        assert_eq!(served.get("/live").await.status, 200);
        assert_eq!(served.get("/ready").await.status, 200);
        served.counts(r#"redcall_slots{state="busy"}"#, threads as f64).await;
    }
}

#[tokio::test]
async fn a_paused_queue_is_ready() {
    let bench = Bench::new().await;
    let served = patient(&bench, &[]).await;
    let client = bench.client().await;
    for queue in ["high", "default", "low"] {
        client.pause(queue).await.unwrap();
    }
    client.request("add").data(&json!({"a": 1, "b": 1})).queue("low").send().await.unwrap();
    served.counts(r#"redcall_queue_length{queue="low"}"#, 1.0).await;
    assert_eq!(served.get("/ready").await.status, 200);
    for queue in ["high", "default", "low"] {
        client.resume(queue).await.unwrap();
    }
    served.counts(r#"redcall_jobs_total{job="add",outcome="ok"}"#, 1.0).await;
    assert_eq!(served.get("/ready").await.status, 200);
}

#[tokio::test]
async fn a_new_connection_makes_the_last_probe_void() {
    let bench = Bench::new().await;
    let served = Served::of(&bench).await;
    let mut conn = bench.redis.connection().await;
    eventually("all pops to block", async || (blocked(&mut conn).await == 3).then_some(())).await;
    served.becomes(200).await;
    let before = carried_out(&mut conn, "rpush").await;
    let killed = cut(&mut conn, "redcall-worker-").await;
    served.counts("redcall_reconnects_total", killed as f64).await;
    served.becomes(200).await;
    assert!(carried_out(&mut conn, "rpush").await > before);
}
