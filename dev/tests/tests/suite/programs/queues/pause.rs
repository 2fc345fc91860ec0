//! `redcall pause` and `redcall resume`, seen by workers.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::time::{Duration, Instant};

use redcall_testkit::eventually;
use redcall_tests::{Bench, Program};
use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::support::{QUEUE, Ran};

async fn state(env: &std::collections::BTreeMap<String, String>, queue: &str) -> Value {
    let ran = Ran::new("redcall", &["queues", "--json"], env).await;
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    let queues = shown["queues"].as_array().unwrap();
    queues.iter().find(|info| info["queue"] == queue).unwrap()["paused"].clone()
}

#[tokio::test]
async fn paused_queue_starts_nothing_until_resumed() {
    let bench = Bench::new().await;
    let env = bench.environment();
    let _workers = [(); 2].map(|()| Program::start("redcall-worker", &[], &env));
    eventually("both workers to appear", async || (bench.workers().await.len() == 2).then_some(()))
        .await;
    let (mut conn, client) = (bench.redis.connection().await, bench.client().await);

    let ran = Ran::new("redcall", &["pause", "default"], &env).await;
    assert_eq!(
        (ran.code, &*ran.stdout),
        (0, "default: paused: running jobs finish, no job starts\n")
    );
    assert!(client.is_paused("default").await.unwrap());
    let tickets = [1, 2, 3].map(|n| client.request("echo").data(&n).submit());
    let tickets = futures_util::future::try_join_all(tickets).await.unwrap();
    // A blocked pop may take one, and has to give it back.
    eventually("all of them to lie in the queue", async || {
        (conn.llen::<_, usize>(QUEUE).await.unwrap() == 3).then_some(())
    })
    .await;
    // Another queue is not concerned, and the workers live on.
    client.request("echo").queue("low").wait().await.unwrap();
    assert_eq!(conn.llen::<_, usize>(QUEUE).await.unwrap(), 3);
    assert_eq!(
        (state(&env, "default").await, state(&env, "low").await),
        (true.into(), false.into())
    );
    let ran = Ran::new("redcall", &["queues"], &env).await;
    let row: Vec<&str> = ran
        .stdout
        .lines()
        .find(|line| line.trim_start().starts_with("default"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(row[..3], ["default", "paused", "3"]);

    let ran = Ran::new("redcall", &["resume", "default"], &env).await;
    assert_eq!((ran.code, &*ran.stdout), (0, "default: resumed\n"));
    let since = Instant::now();
    for (n, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.wait().await.unwrap().json::<usize>().unwrap(), n + 1);
    }
    // A second, as promised, and two for a machine that stops its processes meanwhile.
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    assert_eq!(state(&env, "default").await, false);
}

#[tokio::test]
async fn several_queues_are_paused_and_unchanged_ones_reported() {
    let bench = Bench::new().await;
    let env = bench.environment();
    let ran = Ran::new("redcall", &["pause", "a", "b", "--json"], &env).await;
    let expected = json!({"queues": [
        {"queue": "a", "paused": true, "changed": true},
        {"queue": "b", "paused": true, "changed": true},
    ]});
    assert_eq!((ran.code, serde_json::from_str(&ran.stdout).ok()), (0, Some(expected)));
    // They are unused, and still found.
    assert_eq!((state(&env, "a").await, state(&env, "b").await), (true.into(), true.into()));
    let ran = Ran::new("redcall", &["pause", "a"], &env).await;
    assert_eq!((ran.code, &*ran.stdout), (0, "a: already paused\n"));
    let ran = Ran::new("redcall", &["resume", "a", "c"], &env).await;
    assert_eq!((ran.code, &*ran.stdout), (0, "a: resumed\nc: not paused\n"));
    assert_eq!((state(&env, "a").await, state(&env, "b").await), (false.into(), true.into()));
}

#[tokio::test]
async fn invalid_queue_name_is_refused_without_asking_redis() {
    let env = [("REDIS_URL".to_owned(), "redis+unix:///nowhere".to_owned())].into();
    for verb in ["pause", "resume"] {
        for args in [&[verb][..], &[verb, "a:b"], &[verb, "a", "{b}"]] {
            assert_eq!(Ran::new("redcall", args, &env).await.code, 2, "{args:?}");
        }
        assert_eq!(Ran::new("redcall", &[verb, "a"], &env).await.code, 3);
    }
}
