//! `redcall queues` and `redcall workers`, as text and as JSON.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::time::Duration;

use redcall_testkit::eventually;
use redcall_tests::{Bench, LEASE, Program};
use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::support::Ran;

#[tokio::test]
async fn an_unused_redis_shows_neither_queues_nor_workers() {
    let env = Bench::new().await;
    let (redis, env) = (&env.redis, env.environment());
    let ran = Ran::new("redcall", &["queues"], &env).await;
    assert_eq!((ran.code, &*ran.stdout), (0, "no queue has been used yet\n"));
    let ran = Ran::new("redcall", &["workers"], &env).await;
    assert_eq!((ran.code, &*ran.stdout), (0, "no worker is alive\n"));
    let ran = Ran::new("redcall", &["queues", "--json"], &env).await;
    assert_eq!(ran.stdout, "{\"queues\":[]}\n");
    let ran = Ran::new("redcall", &["workers", "--json"], &env).await;
    assert_eq!(ran.stdout, "{\"workers\":[]}\n");
    // Inspection leaves nothing behind.
    assert_eq!(crate::support::keys(&mut redis.connection().await).await, [""; 0]);
}

#[tokio::test]
async fn queues_are_shown_with_waiting_running_and_dead_counts() {
    let bench = Bench::new().await;
    let env = bench.environment();
    let args = ["--queues", "default,low", "--concurrency", "2"];
    let _worker = Program::start("redcall-worker", &args, &env);
    let mut conn = bench.redis.connection().await;
    let client = bench.client().await;
    // First, since a worker without a free slot takes nothing.
    let () = conn.rpush("redcall:{low}:queue", "nonsense").await.unwrap();
    eventually("the invalid element to be dead-lettered", async || {
        conn.exists::<_, bool>("redcall:{low}:dead").await.unwrap().then_some(())
    })
    .await;
    for _ in 0..5 {
        client.call("sleep", &json!({"ms": 60_000})).await.unwrap();
    }
    client.request("add").queue("unserved").send().await.unwrap();
    let shown = eventually("two jobs to run and three to wait", async || {
        let ran = Ran::new("redcall", &["queues", "--json"], &env).await;
        let mut shown: Value = serde_json::from_str(&ran.stdout).unwrap();
        let queues = shown["queues"].as_array_mut().unwrap();
        let busy = queues[0]["running"] == 2 && queues[0]["length"] == 3;
        busy.then(|| std::mem::take(queues))
    })
    .await;
    let expected = |queue: &str, length: u64, running: u64, dead: u64, workers: u64| {
        json!({
            "queue": queue, "length": length, "running": running, "dead": dead, "parked": 0,
            "workers": workers, "paused": false, "scheduled": 0, "parked_requests": 0,
            "limited": 0, "deferred": 0,
        })
    };
    let mut ages = Vec::new();
    let plain = shown.into_iter().map(|mut queue| {
        ages.push(queue.as_object_mut().unwrap().remove("oldest_ms").unwrap());
        queue
    });
    assert_eq!(
        plain.collect::<Vec<_>>(),
        [
            expected("default", 3, 2, 0, 1),
            expected("low", 0, 0, 1, 1),
            expected("unserved", 1, 0, 0, 0),
        ]
    );
    let is_age = |age: &Value| age.as_u64().is_some_and(|ms| ms < 60_000);
    assert!(is_age(&ages[0]) && ages[1].is_null() && is_age(&ages[2]), "{ages:?}");
    let ran = Ran::new("redcall", &["queues"], &env).await;
    let rows: Vec<Vec<&str>> =
        ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let head = ["QUEUE", "STATE", "WAITING", "OLDEST", "RUNNING", "DEFERRED", "SCHEDULED"];
    assert_eq!(rows[0], [&head[..], &["PARKED", "LIMITED", "DEAD", "WORKERS"]].concat());
    assert_eq!(rows[2], ["low", "open", "0", "-", "0", "0", "0", "0", "0", "1", "1"]);
    // An age may have a space in it.
    let (row, rest) = (&rows[1], rows[1].len() - 7);
    assert_eq!(
        (row[..3].to_vec(), &row[rest..]),
        (vec!["default", "open", "3"], &["2", "0", "0", "0", "0", "0", "1"][..])
    );
}

#[tokio::test]
async fn requests_outside_the_list_are_counted() {
    let bench = Bench::new().await;
    let (env, client) = (bench.environment(), bench.client().await);
    let mut conn = bench.redis.connection().await;
    for _ in 0..2 {
        client.request("add").delay(Duration::from_secs(600)).send().await.unwrap();
    }
    for (name, count) in [("one", 1), ("two", 3)] {
        let () = conn.sadd("redcall:{default}:parked", name).await.unwrap();
        let requests = vec!["{}"; count];
        let () = conn.rpush(format!("redcall:{{default}}:parked:{name}"), requests).await.unwrap();
    }
    let () =
        conn.hset_multiple("redcall:{default}:limited", &[("one", 5), ("two", 2)]).await.unwrap();
    // Live ids of deferred jobs, which run nowhere.
    let () = conn.zadd("redcall:{default}:deferred", "x", 1).await.unwrap();
    let () = conn.hset("redcall:{default}:live", "x", "(deferred)").await.unwrap();
    let ran = Ran::new("redcall", &["queues", "--json"], &env).await;
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    let queue = &shown["queues"][0];
    let counted = ["length", "scheduled", "parked", "parked_requests", "limited"];
    assert_eq!(counted.map(|field| queue[field].as_u64().unwrap()), [0, 2, 2, 4, 7]);
    assert_eq!(["deferred", "running"].map(|field| queue[field].as_u64().unwrap()), [1, 0]);
    let ran = Ran::new("redcall", &["queues"], &env).await;
    let row: Vec<&str> = ran.stdout.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["default", "open", "0", "-", "0", "1", "2", "4", "7", "0", "0"]);
}

#[tokio::test]
async fn workers_are_shown_with_running_and_overdue_jobs() {
    fn stubborn() {
        // Until the test's process ends: nothing can end a thread.
        loop {
            std::thread::park();
        }
    }
    let mut bench = Bench::new().await;
    bench.settings.worker.name = Some("w1".to_owned());
    bench.settings.worker.queues = vec!["default".to_owned(), "low".to_owned()];
    bench.settings.worker.concurrency = 5;
    let handler = redcall_common::settings::HandlerSettings::Compiled("stubborn".to_owned());
    let mut job = redcall_common::settings::JobSettings::new(handler);
    job.timeout = std::time::Duration::from_millis(50);
    bench.settings.jobs.insert("stubborn".to_owned(), job);
    let _worker = bench.worker_with(|worker| worker.blocking_handler("stubborn", stubborn)).await;
    let client = bench.client().await;
    client.call("sleep", &json!({"ms": 60_000})).await.unwrap();
    let late = client.call("stubborn", &Value::Null).await.unwrap();
    let env = bench.environment();
    let shown = eventually("the heartbeat to report both jobs", async || {
        let ran = Ran::new("redcall", &["workers", "--json"], &env).await;
        let mut shown: Value = serde_json::from_str(&ran.stdout).unwrap();
        let worker = shown["workers"][0].take();
        (worker["running"] == 2 && worker["overdue"][0].is_object()).then_some(worker)
    })
    .await;
    assert_eq!((&shown["name"], &shown["state"]), (&json!("w1"), &json!("running")));
    assert_eq!(shown["queues"], json!(["default", "low"]));
    assert_eq!(shown["jobs"], json!(["add", "echo", "fail", "sleep", "stubborn"]));
    assert_eq!((&shown["concurrency"], &shown["lease_ms"]), (&json!(5), &json!(LEASE.as_millis())));
    assert_eq!(shown["pid"], std::process::id());
    let overdue = &shown["overdue"][0];
    assert_eq!((&overdue["id"], &overdue["name"]), (&json!(late.id), &json!("stubborn")));
    assert!(overdue["running_ms"].as_u64().unwrap() >= 50, "{overdue}");
    let ran = Ran::new("redcall", &["workers"], &env).await;
    let rows: Vec<Vec<&str>> =
        ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let head = ["NAME", "HOST", "PID", "STATE", "QUEUES", "JOBS", "RUNNING", "CAPACITY", "OVERDUE"];
    assert_eq!(rows[0], head);
    assert_eq!(
        (rows[1][0], &rows[1][3..8]),
        ("w1", &["running", "default,low", "5", "2", "5"][..])
    );
    assert!(ran.stdout.contains(&format!("stubborn {} for ", late.id)), "{}", ran.stdout);
}
