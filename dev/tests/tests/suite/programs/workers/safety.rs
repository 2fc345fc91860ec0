//! The warnings of workers at their start about a Redis that may lose data.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::BTreeMap;

use redcall_testkit::TestRedis;
use rustix::process::Signal;

use crate::support::Logged;

/// Lets a worker start, lose its connections and end. Its warnings, by their checks.
async fn warnings(redis: &TestRedis) -> Vec<String> {
    let env = BTreeMap::from([("REDIS_URL".to_owned(), redis.url())]);
    let worker = Logged::start("redcall-worker", &[], &env);
    worker.line(" ready ").await;
    let mut conn = redis.connection().await;
    let cut = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").to_owned();
    let _: i64 = cut.query_async(&mut conn).await.unwrap();
    worker.line("connected to Redis again").await;
    of(&ended(&worker).await)
}

/// Stops a worker and returns its whole log.
async fn ended(worker: &Logged) -> String {
    worker.signal(Signal::TERM);
    worker.ended().await
}

fn of(log: &str) -> Vec<String> {
    let warned = |line: &&str| line.contains("WARN") && line.contains("check=");
    log.lines().filter(warned).map(str::to_owned).collect()
}

#[tokio::test]
async fn worker_warns_once_about_missing_persistence() {
    let warnings = warnings(&TestRedis::start().await).await;
    let [one] = &*warnings else { panic!("{warnings:?}") };
    assert!(one.contains("Redis keeps nothing on disk (appendonly no, save \"\")"), "{one}");
    assert!(one.contains("Set `appendonly yes`") && one.contains("check=\"persistence\""), "{one}");
}

#[tokio::test]
async fn worker_warns_once_about_eviction_and_snapshots() {
    let args = ["--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru", "--save", "3600 1"];
    let warnings = warnings(&TestRedis::start_with(args).await).await;
    let [eviction, snapshots] = &*warnings else { panic!("{warnings:?}") };
    assert!(eviction.contains("may evict any key (maxmemory-policy allkeys-lru)"), "{eviction}");
    assert!(eviction.contains("Set `maxmemory-policy noeviction`"), "{eviction}");
    assert!(snapshots.contains("only snapshots (appendonly no, save \"3600 1\")"), "{snapshots}");
    assert!(snapshots.contains("Set `appendonly yes`"), "{snapshots}");
}

#[tokio::test]
async fn durable_or_unreadable_redis_causes_no_warning() {
    let sound = ["--appendonly", "yes", "--appendfsync", "always"];
    let silent = ["--rename-command", "CONFIG", "", "--rename-command", "INFO", ""];
    for args in [&sound[..], &silent] {
        let redis = TestRedis::start_with(args.iter().copied()).await;
        assert_eq!(warnings(&redis).await, [""; 0], "{args:?}");
    }
}

#[tokio::test]
async fn private_server_causes_no_warning() {
    let mut env = BTreeMap::from([("REDIS_URL".to_owned(), "embedded".to_owned())]);
    for kept in ["HOME", "REDCALL_REDIS_SERVER"] {
        env.extend(std::env::var(kept).ok().map(|value| (kept.to_owned(), value)));
    }
    let worker = Logged::start("redcall-worker", &[], &env);
    worker.line(" ready ").await;
    assert_eq!(of(&ended(&worker).await), [""; 0]);
}
