//! Requests that end before a handler is started: however many of them lie together, each is
//! settled by the next poll, and none waits for a timer of the worker.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::HashSet;
use std::time::Duration;

use redcall_common::settings::{AuthKey, AuthSettings, Secret};
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::json;

use crate::support::{DEAD, LIVE, QUEUE, carried_out, dead_letters, response_key, waited};

/// A kind of refusal: its name, and an element of it with a given id.
type Kind = (&'static str, fn(&str) -> String);

const KINDS: [Kind; 7] = [
    ("budget over", expired),
    ("unknown job", |id| waited(id, "absent", "1", "")),
    ("unknown job without a response key", |id| {
        format!(r#"{{"id":"{id}","name":"absent","data":1}}"#)
    }),
    ("bad name", |id| waited(id, "two words", "1", "")),
    ("no data", |id| {
        let key = response_key(id);
        format!(r#"{{"id":"{id}","name":"echo","response_key":"{key}"}}"#)
    }),
    ("wrong version", |id| waited(id, "echo", "1", r#","v":2"#)),
    ("too deep", |id| waited(id, "echo", &format!("{}1{}", "[".repeat(80), "]".repeat(80)), "")),
];

fn expired(id: &str) -> String {
    waited(id, "echo", "1", r#","enqueued_at":1,"budget_ms":1"#)
}

/// The settings of a worker without timers within a test, except for the pulse of its loop, once a
/// second. More outcomes than fit ten of those are settled by polls that the outcomes themselves
/// cause.
async fn without_timers(concurrency: usize) -> Bench {
    let mut bench = Bench::new().await;
    bench.settings.worker.queues = vec!["default".to_owned()];
    bench.settings.worker.concurrency = concurrency;
    bench.settings.worker.lease = Duration::from_secs(600);
    bench
}

/// Waits until `count` requests have ended, with an answer or as dead letters.
async fn have_ended(conn: &mut MultiplexedConnection, count: usize, kind: &str) {
    let mut last = None;
    eventually(kind, async || {
        let answers: Vec<String> = conn.keys(response_key("*")).await.unwrap();
        // Some are answered and kept as dead letters, too.
        let dead = dead_letters(conn).await.into_iter().map(|letter| response_key(&letter.id));
        let ended: HashSet<String> = answers.into_iter().chain(dead).collect();
        let open: (usize, usize) =
            (conn.llen(QUEUE).await.unwrap(), conn.hlen(LIVE).await.unwrap());
        let found = (ended.len(), open);
        if last != Some(found) {
            eprintln!("{kind}: {found:?}");
            last = Some(found);
        }
        (found == (count, (0, 0))).then_some(())
    })
    .await;
    let answers: Vec<String> = conn.keys(response_key("*")).await.unwrap();
    let () = conn.del([answers, vec![DEAD.to_owned()]].concat()).await.unwrap();
}

/// Pushes `count` elements together, and waits for the end of each.
async fn all_end(conn: &mut MultiplexedConnection, count: usize, (kind, element): Kind) {
    let elements: Vec<String> = (0..count).map(|n| element(&format!("x{n}"))).collect();
    let () = conn.rpush(QUEUE, elements).await.unwrap();
    have_ended(conn, count, kind).await;
}

async fn all_of_each_kind_end(concurrency: usize, count: usize) {
    let mut bench = without_timers(concurrency).await;
    let mut conn = bench.redis.connection().await;
    let unsigned = bench.worker().await;
    for kind in KINDS {
        all_end(&mut conn, count, kind).await;
    }
    drop(unsigned);
    let key = AuthKey { secret: Secret::new("x".repeat(32)), jobs: vec!["*".to_owned()] };
    let keys = [("web".to_owned(), key)].into();
    bench.settings.auth = Some(AuthSettings { keys, sign_with: None, required: true });
    let _worker = bench.worker().await;
    all_end(&mut conn, count, ("unsigned", |id| waited(id, "echo", "1", ""))).await;
}

#[tokio::test]
async fn refused_requests_of_each_kind_end_without_a_timer() {
    all_of_each_kind_end(64, 2000).await;
}

#[tokio::test]
async fn refusals_of_each_kind_end_one_at_a_time_without_a_timer() {
    all_of_each_kind_end(1, 100).await;
}

/// Refused requests use no capacity: a poll may lease more of them than that.
#[tokio::test]
async fn flood_of_refusals_does_not_cost_a_poll_each() {
    let bench = without_timers(1).await;
    let mut conn = bench.redis.connection().await;
    let elements: Vec<String> = (0..1000).map(|n| expired(&format!("old{n}"))).collect();
    let () = conn.rpush(QUEUE, elements).await.unwrap();
    let before = carried_out(&mut conn, "evalsha").await;
    let _worker = bench.worker().await;
    have_ended(&mut conn, 1000, "the expired calls").await;
    // With those at the start of a worker.
    let scripts = carried_out(&mut conn, "evalsha").await - before;
    assert!(scripts < 150, "{scripts} scripts");
}

#[tokio::test]
async fn expired_calls_in_front_do_not_hold_back_a_fresh_one() {
    for (concurrency, count) in [(1, 100), (64, 2000)] {
        let bench = without_timers(concurrency).await;
        let (mut conn, client) = (bench.redis.connection().await, bench.client().await);
        let elements: Vec<String> = (0..count).map(|n| expired(&format!("old{n}"))).collect();
        let () = conn.rpush(QUEUE, elements).await.unwrap();
        let fresh = client.request("add").data(&json!({"a": 1, "b": 2})).submit().await.unwrap();
        let _worker = bench.worker().await;
        assert_eq!(fresh.wait().await.unwrap().data.get(), r#"{"answer":3}"#);
        have_ended(&mut conn, count, "the expired calls").await;
    }
}
