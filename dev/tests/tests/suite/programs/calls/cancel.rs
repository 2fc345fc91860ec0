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
struct Desk {
    conn: MultiplexedConnection,
    env: BTreeMap<String, String>,
    _bench: Bench,
}

impl Desk {
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
    let mut desk = Desk::new().await;
    for flag in ["--wait", "--stream"] {
        let program = Program::start("redcall", &["call", "add", flag], &desk.env);
        let raw: String = eventually("the call to be queued", async || {
            desk.conn.lpop::<_, Option<String>>(QUEUE, None).await.unwrap()
        })
        .await;
        program.signal(Signal::INT);
        let ended = tokio::task::spawn_blocking(|| program.wait()).await.unwrap();
        assert_eq!(ended.code(), Some(130), "{flag}");
        let envelope: Value = serde_json::from_str(&raw).unwrap();
        let tombs: Vec<String> = desk.conn.zrange(CANCELLED, 0, -1).await.unwrap();
        assert_eq!(json!(tombs), json!([envelope["id"]]), "{flag}");
        let () = desk.conn.del(CANCELLED).await.unwrap();
    }
}

#[tokio::test]
async fn a_request_is_cancelled_wherever_it_is() {
    let mut desk = Desk::new().await;
    let queued = desk.queues(&[]).await["id"].take();
    let delayed = desk.queues(&["--delay", "1h", "--queue", "low"]).await["id"].take();
    let (queued, delayed) = (queued.as_str().unwrap(), delayed.as_str().unwrap());
    let told = desk.prints(&["cancel", delayed]).await;
    assert_eq!(told, format!("{delayed}: cancelled before it was due\n"));
    let told = desk.prints(&["cancel", queued, "--queue", "default"]).await;
    assert_eq!(
        told,
        format!("{queued}: not running; if the job is still queued, it will not start\n")
    );
    let () = desk.conn.hset(LIVE, queued, "absent").await.unwrap();
    let told = desk.prints(&["cancel", queued, "--json"]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told, json!({ "id": queued, "found": "running" }));
    let tombs: Vec<String> = desk.conn.zrange(CANCELLED, 0, -1).await.unwrap();
    assert!(tombs.contains(&queued.to_owned()));

    let ran = Ran::new("redcall", &["cancel", "two words"], &desk.env).await;
    assert_eq!(ran.code, 2);
    ran.says("help: An id has 1 to 64 of [A-Za-z0-9_-]; `redcall call` prints it.");
    let nowhere = ["--redis", "redis://127.0.0.1:1", "cancel", "x"];
    assert_eq!(Ran::new("redcall", &nowhere, &[].into()).await.code, 3);
}

#[tokio::test]
async fn request_is_cancelled_in_a_queue_that_only_rpush_has_used() {
    let mut desk = Desk::new().await;
    let request = r#"{"id":"a","name":"add","data":{"a":1,"b":1}}"#;
    let () = desk.conn.rpush("redcall:{foreign}:queue", request).await.unwrap();
    let told = desk.prints(&["cancel", "a"]).await;
    assert_eq!(told, "a: not running; if the job is still queued, it will not start\n");
    let tombs: Vec<String> = desk.conn.zrange("redcall:{foreign}:cancelled", 0, -1).await.unwrap();
    assert_eq!(tombs, ["a"]);
    let () = desk.conn.hset("redcall:{foreign}:live", "b", "other").await.unwrap();
    let told = desk.prints(&["--json", "cancel", "b"]).await;
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["found"], "running");
}

#[tokio::test]
async fn flags_delay_and_retry_a_call() {
    let mut desk = Desk::new().await;
    for _ in 0..5 {
        desk.queues(&["--at", "2100-01-01T01:00:00+01:00"]).await;
    }
    let due: Vec<(String, u64)> = desk.conn.zrange_withscores(SCHEDULE, 0, -1).await.unwrap();
    assert_eq!(due.len(), 5, "{due:?}");
    // The tolerance is the time of reading both clocks. The best of them: a machine may stop a
    // program between the two.
    let off = due.iter().map(|(_, due)| due.abs_diff(4_102_444_800_000)).min();
    assert!(off.is_some_and(|off| off < 10), "{due:?}");
    let first = desk.queues(&["--idempotency-key", "k"]).await;
    assert_eq!(first["deduplicated"], false);
    let again = desk.queues(&["--idempotency-key", "k"]).await;
    assert_eq!((&again["deduplicated"], &again["id"]), (&json!(true), &first["id"]));
    let told = desk.prints(&["call", "add", "--idempotency-key", "k"]).await;
    assert_eq!(told, format!("joined {} on default\n", first["id"].as_str().unwrap()));
    assert_eq!(desk.conn.llen::<_, usize>(QUEUE).await.unwrap(), 1);
}
