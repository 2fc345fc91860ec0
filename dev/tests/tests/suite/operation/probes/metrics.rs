//! The counters.

use redcall_client::Code;
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redis::AsyncCommands;
use rustix::process::Signal;
use serde_json::json;

use super::Served;
use crate::support::{Logged, carried_out, cut};

fn ended(job: &str, outcome: &str) -> String {
    format!(r#"redcall_jobs_total{{job="{job}",outcome="{outcome}"}}"#)
}

#[tokio::test]
async fn jobs_are_counted_by_how_they_ended() {
    let bench = Bench::new().await;
    let mut env = bench.environment();
    env.insert("REDCALL__JOBS__FAIL__RETRIES__MAX".into(), "2".into());
    env.insert("REDCALL__JOBS__FAIL__RETRIES__BASE".into(), "1ms".into());
    let served = Served::start("redcall-worker", env).await;
    let client = bench.client().await;
    for n in 0..3 {
        client.call_and_wait("add", &json!({"a": n, "b": 1})).await.unwrap();
    }
    let wrong = client.call_and_wait("add", &json!("no terms")).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidData);
    let failed = client.call_and_wait("fail", &json!({"message": "x"})).await.unwrap_err();
    assert_eq!(failed.code(), Code::HandlerFailed);
    for name in ["absent", "absent-too"] {
        let unknown = client.call_and_wait(name, &()).await.unwrap_err();
        assert_eq!(unknown.code(), Code::UnknownJob);
    }
    let mut conn = bench.redis.connection().await;
    let late = r#"{"id":"late","name":"echo","data":1,"enqueued_at":1,"budget_ms":1}"#;
    // The last of them is a dead letter without a lease: its script reports it.
    let all = [late, r#"{"id":"nonsense","name":"add"}"#, "garbage"];
    let () = conn.rpush("redcall:{default}:queue", &all).await.unwrap();
    served.counts(&ended("echo", "deadline_exceeded"), 1.0).await;
    served.counts(&ended("unknown", "invalid_request"), 1.0).await;
    served.counts(r#"redcall_refused_total{code="invalid_request"}"#, 2.0).await;

    let metrics = served.metrics().await;
    let of = |start: &str| {
        let of = metrics.iter().filter(|(name, _)| name.starts_with(start));
        of.map(|(name, value)| (name.clone(), *value)).collect::<Vec<_>>()
    };
    let expected = [
        (ended("add", "invalid_data"), 1.0),
        (ended("add", "ok"), 3.0),
        (ended("echo", "deadline_exceeded"), 1.0),
        (ended("fail", "handler_failed"), 1.0),
        (ended("fail", "retried"), 2.0),
        (ended("unknown", "invalid_request"), 1.0),
        (ended("unknown", "unknown_job"), 2.0),
    ];
    assert_eq!(of("redcall_jobs_total"), expected);
    let refused = ["deadline_exceeded", "invalid_request", "unknown_job"];
    let refused = refused.map(|code| format!(r#"redcall_refused_total{{code="{code}"}}"#));
    let counts: Vec<(String, f64)> = refused.into_iter().zip([1.0, 2.0, 2.0]).collect();
    assert_eq!(of("redcall_refused_total"), counts, "a job that ran was not refused");
    let runs = [("add", 4.0), ("fail", 3.0)];
    let runs =
        runs.map(|(job, count)| (format!(r#"redcall_job_seconds_count{{job="{job}"}}"#), count));
    assert_eq!(of("redcall_job_seconds_count"), runs, "a job that did not run has no time");
    let capacity = |state| format!(r#"redcall_slots{{state="{state}"}}"#);
    assert_eq!(of("redcall_slots"), [(capacity("busy"), 0.0), (capacity("free"), 64.0)]);
    assert_eq!(of("redcall_takeovers"), [("redcall_takeovers_total".to_owned(), 0.0)]);
    assert_eq!(of("redcall_reconnects"), [("redcall_reconnects_total".to_owned(), 0.0)]);
}

#[tokio::test]
async fn the_time_of_a_run_is_from_its_start_to_its_end() {
    let bench = Bench::new().await;
    let served = Served::of(&bench).await;
    let client = bench.client().await;
    client.call_and_wait("sleep", &json!({"ms": 60})).await.unwrap();
    let metrics = served.metrics().await;
    let bucket =
        |le: &str| metrics[&format!(r#"redcall_job_seconds_bucket{{le="{le}",job="sleep"}}"#)];
    assert_eq!((bucket("0.05"), bucket("+Inf")), (0.0, 1.0));
    let sum = metrics[r#"redcall_job_seconds_sum{job="sleep"}"#];
    assert!((0.06..10.0).contains(&sum), "{sum}");
}

#[tokio::test]
async fn waiting_requests_are_counted_in_every_state() {
    let bench = Bench::new().await;
    let served = Served::of(&bench).await;
    let client = bench.client().await;
    client.pause("low").await.unwrap();
    let mut conn = bench.redis.connection().await;
    // Its blocked pop would take one of the requests, and give it back a little later.
    eventually("the pop of the paused queue to end", async || {
        (crate::support::blocked(&mut conn).await == 2).then_some(())
    })
    .await;
    let delay = std::time::Duration::from_secs(600);
    client.request("add").data(&1).queue("low").delay(delay).send().await.unwrap();
    let at = crate::support::now_ms(&mut conn).await - 90_000;
    let old = format!(r#"{{"id":"a","name":"add","data":1,"enqueued_at":{at}}}"#);
    let () = conn.rpush("redcall:{low}:queue", &[old.as_str(), "{}"]).await.unwrap();
    // One that is partitioned, one that is parked; one that is not due does not wait yet.
    let () = conn.hset("redcall:{low}:limited", "report", 1).await.unwrap();
    let () = conn.sadd("redcall:{low}:parked", "elsewhere").await.unwrap();
    let () = conn.rpush("redcall:{low}:parked:elsewhere", "{}").await.unwrap();
    let length = |queue| format!(r#"redcall_queue_length{{queue="{queue}"}}"#);
    let oldest = |queue| format!(r#"redcall_queue_oldest_seconds{{queue="{queue}"}}"#);
    let metrics = served.metrics().await;
    assert_eq!((metrics[&length("low")], metrics[&length("high")]), (4.0, 0.0));
    let age = metrics[&oldest("low")];
    assert!((89.0..120.0).contains(&age), "{age}");
    assert_eq!(metrics[&oldest("high")], 0.0);
    // A request without an enqueue time has no age. A reading of Redis holds for a second.
    let () = conn.lpop("redcall:{low}:queue", None).await.unwrap();
    eventually("it to have no age", async || {
        let metrics = served.metrics().await;
        (metrics[&length("low")] < 4.0 && !metrics.contains_key(&oldest("low"))).then_some(())
    })
    .await;
    // A queue that is none of this worker's is none of its metrics.
    let () = conn.rpush("redcall:{other}:queue", "{}").await.unwrap();
    client.request("add").data(&1).queue("other").send().await.unwrap();
    assert!(!served.metrics().await.contains_key(&length("other")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_scrapers_cause_one_read_per_second() {
    let bench = Bench::new().await;
    let served = Served::of(&bench).await;
    let mut conn = bench.redis.connection().await;
    served.metrics().await;
    // One per queue and reading; heartbeats have some of their own.
    let before = carried_out(&mut conn, "hvals").await;
    let since = std::time::Instant::now();
    for _ in 0..10 {
        let scrapes = (0..32).map(async |_| served.metrics().await);
        futures_util::future::join_all(scrapes).await;
    }
    let reads = carried_out(&mut conn, "hvals").await - before;
    let seconds = since.elapsed().as_secs() + 1;
    assert!(reads <= 40 * seconds, "{reads} reads in {seconds} s for 320 scrapes");
    // A client that disconnects repeatedly costs no more.
    let before = carried_out(&mut conn, "hvals").await;
    let since = std::time::Instant::now();
    for _ in 0..200 {
        let mut stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
        let head = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, head).await.unwrap();
    }
    assert_eq!(served.get("/live").await.status, 200);
    let reads = carried_out(&mut conn, "hvals").await - before;
    let seconds = since.elapsed().as_secs() + 1;
    assert!(reads <= 40 * seconds, "{reads} reads in {seconds} s");
}

#[tokio::test]
async fn metrics_text_has_the_scrapers_format() {
    let served = Served::of(&Bench::new().await).await;
    let plain = served.get("/metrics").await;
    assert!(plain.head.contains("content-type: text/plain; version=0.0.4"), "{}", plain.head);
    assert!(plain.body.ends_with("# EOF\n"), "{}", plain.body);
    let accept = "/metrics HTTP/1.1\r\naccept: application/openmetrics-text;version=1.0.0\r\nx: ";
    let open = served.get(accept).await;
    assert!(open.head.contains("content-type: application/openmetrics-text"), "{}", open.head);
}

/// A worker of `mortal` that writes to `folder`.
fn mortal(bench: &Bench, folder: &std::path::Path) -> std::collections::BTreeMap<String, String> {
    let mut env = bench.environment();
    env.insert("MORTAL_FOLDER".into(), folder.to_str().unwrap().into());
    env
}

#[tokio::test]
async fn take_over_from_a_dead_worker_is_counted() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut env = mortal(&bench, folder.path());
    env.insert("MORTAL_DIES".into(), "in".into());
    let first = Logged::start("mortal", &[], &env);
    first.line(": ready").await;
    let client = bench.client().await;
    let call = client.request("job").data(&json!({})).submit().await.unwrap();
    eventually("the first to die", async || (!first.is_running()).then_some(())).await;
    env.remove("MORTAL_DIES");
    let served = Served::start("mortal", env).await;
    assert_eq!(call.wait().await.unwrap().data.get(), "2");
    served.counts("redcall_takeovers_total", 1.0).await;
    served.counts(&ended("job", "ok"), 1.0).await;
}

#[tokio::test]
async fn taken_over_lease_is_counted_as_lost() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    let env = mortal(&bench, folder.path());
    let served = Served::start("mortal", env.clone()).await;
    let client = bench.client().await;
    let data = json!({"until": "never"});
    let call = client.request("job").data(&data).submit().await.unwrap();
    eventually("it to run", async || std::fs::read_to_string(folder.path().join("effects")).ok())
        .await;
    served.program.signal(Signal::STOP);
    let other = Served::start("mortal", env).await;
    assert_eq!(call.wait().await.unwrap().data.get(), "2");
    served.program.signal(Signal::CONT);
    served.counts(&ended("job", "lost"), 1.0).await;
    assert!(!served.metrics().await.contains_key(&ended("job", "ok")));
    other.counts(&ended("job", "ok"), 1.0).await;
}

#[tokio::test]
async fn every_reconnection_is_counted() {
    let bench = Bench::new().await;
    let served = Served::of(&bench).await;
    let mut conn = bench.redis.connection().await;
    eventually("all pops to block", async || {
        (crate::support::blocked(&mut conn).await == 3).then_some(())
    })
    .await;
    // Turns, heartbeats, and a pop for each queue.
    assert_eq!(cut(&mut conn, "redcall-worker-").await, 5);
    served.counts("redcall_reconnects_total", 5.0).await;
    served.becomes(200).await;
}
