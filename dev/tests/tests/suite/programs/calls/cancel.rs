//! `redcall cancel`, Ctrl-C, and delayed or repeated calls.

use std::collections::BTreeMap;

use redcall_testkit::eventually;
use redcall_tests::{Bench, Program};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{CANCELLED, LIVE, QUEUE, Ran, SCHEDULE, seems_served};

/// A queue with a registered worker, whose requests stay where they are.
struct Setup {
    conn: MultiplexedConnection,
    env: BTreeMap<String, String>,
    _bench: Bench,
}

impl Setup {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let mut conn = bench.redis.connection().await;
        seems_served(&mut conn, "default").await;
        Self { conn, env: bench.environment(), _bench: bench }
    }

    async fn prints(&self, args: &[&str]) -> String {
        let ran = Ran::new("redcall", args, &self.env).await;
        assert_eq!((ran.code, &*ran.stderr), (0, ""), "{args:?}");
        ran.stdout
    }

    async fn queues(&self, args: &[&str]) -> Value {
        let all = [&["--json", "call", "add"], args].concat();
        serde_json::from_str(&self.prints(&all).await).unwrap()
    }
}

#[tokio::test]
async fn ctrl_c_cancels_the_call_that_is_waited_for() {
    let mut setup = Setup::new().await;
    for flag in ["--wait", "--stream"] {
        let program = Program::start("redcall", &["call", "add", flag], &setup.env);
        let raw: String = eventually("the call to be queued", async || {
            setup.conn.lpop::<_, Option<String>>(QUEUE, None).await.unwrap()
        })
        .await;
        program.signal(Signal::INT);
        let ended = tokio::task::spawn_blocking(|| program.wait()).await.unwrap();
        assert_eq!(ended.code(), Some(130), "{flag}");
        let envelope: Value = serde_json::from_str(&raw).unwrap();
        let tombs: Vec<String> = setup.conn.zrange(CANCELLED, 0, -1).await.unwrap();
        assert_eq!(json!(tombs), json!([envelope["id"]]), "{flag}");
        let () = setup.conn.del(CANCELLED).await.unwrap();
    }
}

#[tokio::test]
async fn a_request_is_cancelled_wherever_it_is() {
    let mut setup = Setup::new().await;
    let queued = setup.queues(&[]).await["id"].take();
    let delayed = setup.queues(&["--delay", "1h", "--queue", "low"]).await["id"].take();
    let (queued, delayed) = (queued.as_str().unwrap(), delayed.as_str().unwrap());
    let output = setup.prints(&["cancel", delayed]).await;
    assert_eq!(output, format!("{delayed}: cancelled before it was due\n"));
    let output = setup.prints(&["cancel", queued, "--queue", "default"]).await;
    assert_eq!(
        output,
        format!("{queued}: not running; if the job is still queued, it will not start\n")
    );
    let () = setup.conn.hset(LIVE, queued, "absent").await.unwrap();
    let output = setup.prints(&["cancel", queued, "--json"]).await;
    let output: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(output, json!({ "id": queued, "found": "running" }));
    let tombs: Vec<String> = setup.conn.zrange(CANCELLED, 0, -1).await.unwrap();
    assert!(tombs.contains(&queued.to_owned()));

    let ran = Ran::new("redcall", &["cancel", "two words"], &setup.env).await;
    assert_eq!(ran.code, 2);
    ran.stderr_has("help: An id has 1 to 64 of [A-Za-z0-9_-]; `redcall call` prints it.");
    let nowhere = ["--redis", "redis://127.0.0.1:1", "cancel", "x"];
    assert_eq!(Ran::new("redcall", &nowhere, &[].into()).await.code, 3);
}

#[tokio::test]
async fn request_is_cancelled_in_a_queue_that_only_rpush_has_used() {
    let mut setup = Setup::new().await;
    let request = r#"{"id":"a","name":"add","data":{"a":1,"b":1}}"#;
    let () = setup.conn.rpush("redcall:{foreign}:queue", request).await.unwrap();
    let output = setup.prints(&["cancel", "a"]).await;
    assert_eq!(output, "a: not running; if the job is still queued, it will not start\n");
    let tombs: Vec<String> = setup.conn.zrange("redcall:{foreign}:cancelled", 0, -1).await.unwrap();
    assert_eq!(tombs, ["a"]);
    let () = setup.conn.hset("redcall:{foreign}:live", "b", "other").await.unwrap();
    let output = setup.prints(&["--json", "cancel", "b"]).await;
    assert_eq!(serde_json::from_str::<Value>(&output).unwrap()["found"], "running");
}

#[tokio::test]
async fn flags_delay_and_retry_a_call() {
    let mut setup = Setup::new().await;
    for _ in 0..5 {
        setup.queues(&["--at", "2100-01-01T01:00:00+01:00"]).await;
    }
    let due: Vec<(String, u64)> = setup.conn.zrange_withscores(SCHEDULE, 0, -1).await.unwrap();
    assert_eq!(due.len(), 5, "{due:?}");
    // The tolerance is the time of reading both clocks. The best of them: a machine may stop a
    // program between the two.
    let off = due.iter().map(|(_, due)| due.abs_diff(4_102_444_800_000)).min();
    assert!(off.is_some_and(|off| off < 10), "{due:?}");
    let first = setup.queues(&["--idempotency-key", "k"]).await;
    assert_eq!(first["deduplicated"], false);
    let again = setup.queues(&["--idempotency-key", "k"]).await;
    assert_eq!((&again["deduplicated"], &again["id"]), (&json!(true), &first["id"]));
    let output = setup.prints(&["call", "add", "--idempotency-key", "k"]).await;
    assert_eq!(output, format!("joined {} on default\n", first["id"].as_str().unwrap()));
    assert_eq!(setup.conn.llen::<_, usize>(QUEUE).await.unwrap(), 1);
}
