//! Workers, queues and keys in the states that matter.

use std::time::Duration;

use redcall_common::settings::{AuthKey, AuthSettings, Secret};
use redcall_tests::{Bench, counter, counter_service};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

use super::{at, doctor};
use crate::support::{DEAD, LIVE, QUEUE, WORKERS, keys, now_ms};

/// Makes the queue `default` known, as every program does that uses it.
async fn note(conn: &mut MultiplexedConnection) {
    let now = now_ms(conn).await;
    let () = conn.zadd("redcall:queues", "default", now).await.unwrap();
    let () = conn.expire("redcall:queues", 60).await.unwrap();
}

/// A worker's report, with `changes`.
async fn appear(conn: &mut MultiplexedConnection, id: &str, changes: &[(&str, Value)]) {
    note(conn).await;
    let mut info = json!({
        "id": id, "name": id, "host": "h", "pid": 1, "version": "0.1.0", "started_at": 1,
        "state": "running", "queues": ["default"], "jobs": ["add"], "concurrency": 4,
        "running": 0, "overdue": [], "lease_ms": 60_000,
    });
    for (field, value) in changes {
        info[field] = value.clone();
    }
    let later = now_ms(conn).await + 60_000;
    let () = conn.zadd(WORKERS, id, later).await.unwrap();
    let () = conn.expire(WORKERS, 60).await.unwrap();
    let key = format!("redcall:{{default}}:worker:{id}");
    let () = conn.set_ex(key, info.to_string(), 60).await.unwrap();
}

#[tokio::test]
async fn work_without_a_worker_is_a_problem() {
    let bench = Bench::new().await;
    let (mut conn, env) = (bench.redis.connection().await, at(&bench.redis));
    let seen = doctor(&[], &env).await;
    seen.has("workers", "warning", "no worker is alive");
    let client = bench.client().await;
    client.call("add", &json!({"a": 1, "b": 1})).await.unwrap();
    let later = client.request("add").delay(Duration::from_secs(600));
    later.send().await.unwrap();
    let expected = "no worker serves default, where 1 wait, 0 are held and 1 are scheduled";
    let seen = doctor(&[], &env).await;
    seen.has("workers", "problem", expected);
    seen.has("oldest", "ok", "the oldest job has waited for ");
    appear(&mut conn, "w", &[]).await;
    let seen = doctor(&[], &env).await;
    seen.has("workers", "ok", "1 alive, 0 of at most 4 jobs running");
    seen.is_fine("workers");
}

#[tokio::test]
async fn old_paused_and_full_queues_are_reported() {
    let bench = Bench::new().await;
    let (mut conn, mut env) = (bench.redis.connection().await, at(&bench.redis));
    appear(&mut conn, "w", &[]).await;
    let since = now_ms(&mut conn).await - 3_600_000;
    let request = json!({"id": "a", "name": "add", "data": 1, "enqueued_at": since});
    let () = conn.rpush(QUEUE, request.to_string()).await.unwrap();
    let () = conn.set("redcall:{default}:paused", "1").await.unwrap();
    let seen = doctor(&[], &env).await;
    seen.has("oldest", "warning", "the oldest job has waited for 1h");
    seen.has("paused", "note", "default");
    env.insert("REDCALL__QUEUES__DEFAULT__MAX_LENGTH".to_owned(), "1".to_owned());
    doctor(&[], &env).await.has("full", "warning", "default holds 1 of 1 jobs");
}

#[tokio::test]
async fn dead_letters_are_counted() {
    let bench = Bench::new().await;
    let (mut conn, mut env) = (bench.redis.connection().await, at(&bench.redis));
    note(&mut conn).await;
    doctor(&[], &env).await.has("dead", "ok", "no dead letters");
    for _ in 0..4 {
        let add = redis::cmd("XADD").arg(DEAD).arg("*").arg("id").arg("x").to_owned();
        let _: String = add.query_async(&mut conn).await.unwrap();
    }
    doctor(&[], &env).await.has("dead", "note", "dead letters: 4 on default");
    env.insert("REDCALL__DEAD__MAX".to_owned(), "5".to_owned());
    doctor(&[], &env).await.has("dead", "warning", "dead letters: 4 on default");
}

#[tokio::test]
async fn bytes_near_a_bound_are_a_warning() {
    let bench = Bench::new().await;
    let (mut conn, mut env) = (bench.redis.connection().await, at(&bench.redis));
    note(&mut conn).await;
    doctor(&[], &env).await.is_fine("bytes");
    let add =
        redis::cmd("XADD").arg(DEAD).arg("*").arg("request").arg("x".repeat(1 << 20)).to_owned();
    let _: String = add.query_async(&mut conn).await.unwrap();
    env.insert("REDCALL__DEAD__MAX_BYTES".to_owned(), "1MiB".to_owned());
    doctor(&[], &env).await.has("bytes", "warning", "dead letters of default have 1 of 1 MiB");
    let answers = "redcall:{default}:answers";
    let () = conn.hset(answers, ":bytes", 9 << 20).await.unwrap();
    env.insert("REDCALL__QUEUES__DEFAULT__ANSWERS_MAX_BYTES".to_owned(), "10MiB".to_owned());
    doctor(&[], &env).await.has("bytes", "warning", "answers of default have 9 of 10 MiB");
}

#[tokio::test]
async fn inconsistent_workers_are_reported() {
    let bench = Bench::new().await;
    let (mut conn, mut env) = (bench.redis.connection().await, at(&bench.redis));
    env.insert("REDCALL__JOBS__ADD__HANDLER".to_owned(), "builtin:add".to_owned());
    appear(&mut conn, "w", &[]).await;
    let seen = doctor(&[], &env).await;
    seen.has("versions", "ok", "all workers are of version 0.1.0");
    seen.is_fine("names");
    seen.is_fine("overdue");

    env.insert("REDCALL__JOBS__ECHO__HANDLER".to_owned(), "builtin:echo".to_owned());
    let overdue = json!([{"id": "1", "name": "slow\u{1b}[2J", "running_ms": 61_000}]);
    appear(&mut conn, "v", &[("version", json!("0.0.9")), ("overdue", overdue)]).await;
    let seen = doctor(&[], &env).await;
    seen.has("versions", "warning", "workers of different versions: 0.0.9, 0.1.0");
    seen.has("names", "warning", "no live worker handles echo");
    seen.has("overdue", "warning", "slow\\u{1b}[2J for 1m 1s on v");
}

#[tokio::test]
async fn leases_without_take_over_are_a_problem() {
    let bench = Bench::new().await;
    let (mut conn, mut env) = (bench.redis.connection().await, at(&bench.redis));
    env.insert("REDCALL__WORKER__LEASE".to_owned(), "5s".to_owned());
    note(&mut conn).await;
    let now = now_ms(&mut conn).await;
    for (worker, id, ended) in [("gone", "a", now - 60_000), ("new", "b", now - 1000)] {
        let () = conn.zadd(WORKERS, worker, ended).await.unwrap();
        let leases = format!("redcall:{{default}}:leases:{worker}");
        let () = conn.hset(leases, id, "{}").await.unwrap();
        let () = conn.hset(LIVE, id, worker).await.unwrap();
    }
    let seen = doctor(&[], &env).await;
    seen.has("leases", "problem", "jobs held by dead workers: 1 of gone on default, dead for 1m");
    // A worker that died just now will be taken over by the others.
    assert!(!format!("{:?}", seen.findings).contains("of new on"));
    let () = conn.zrem(WORKERS, "gone").await.unwrap();
    doctor(&[], &env).await.is_fine("leases");
}

#[tokio::test]
async fn keys_without_their_ttl_are_found_and_nothing_is_written() {
    let bench = Bench::new().await;
    let (mut conn, env) = (bench.redis.connection().await, at(&bench.redis));
    // As they are while all is well, the ones that have no TTL too.
    let worker = bench.worker().await;
    let client = bench.client().await;
    client.call_and_wait("add", &json!({"a": 1, "b": 1})).await.unwrap();
    client.request("add").delay(Duration::from_secs(600)).send().await.unwrap();
    drop((worker, client));
    note(&mut conn).await;
    let () = conn.rpush(QUEUE, "x").await.unwrap();
    doctor(&[], &env).await.has("keys", "ok", " keys lack a TTL");
    let () = conn.set("redcall:mine", 1).await.unwrap();
    let () = conn.set("another:{default}:response:y", 1).await.unwrap();
    doctor(&[], &env).await.has("keys", "note", "are not Redcall's: redcall:mine");
    let () = conn.rpush("redcall:{default}:response:x", 1).await.unwrap();

    let before = (keys(&mut conn).await, changes(&mut conn).await);
    let expected = "lack their TTL: redcall:{default}:response:x";
    doctor(&[], &env).await.has("keys", "warning", expected);
    assert_eq!((keys(&mut conn).await, changes(&mut conn).await), before);
}

#[tokio::test]
async fn limited_key_in_no_place_is_a_problem() {
    let bench = Bench::new().await;
    let (mut conn, env) = (bench.redis.connection().await, at(&bench.redis));
    note(&mut conn).await;
    doctor(&[], &env).await.has(
        "limits",
        "ok",
        "each limit key with waiting requests gets its turn",
    );
    let key = |what: &str| format!("redcall:{{default}}:{what}");
    let () = conn.rpush(key("limited:order:a"), "{}").await.unwrap();
    let () = conn.hset(key("limited"), "order", 1).await.unwrap();
    let lost = "a of order has partitioned requests and gets no turn on default";
    // Neither the set of all keys knows it, nor a place; then at least that set does.
    for listed in [false, true] {
        if listed {
            let () = conn.sadd(key("limit_keys:order"), "a").await.unwrap();
        }
        let before = (keys(&mut conn).await, changes(&mut conn).await);
        doctor(&[], &env).await.has("limits", "problem", lost);
        assert_eq!((keys(&mut conn).await, changes(&mut conn).await), before);
    }
    for place in ["rotation:order", "held:order"] {
        let () = conn.set(key(place), "x").await.unwrap();
        let expected = format!("{} has a value of another type on default", key(place));
        doctor(&[], &env).await.has("limits", "problem", &expected);
        let () = conn.del(key(place)).await.unwrap();
    }
    let () = conn.rpush(key("rotation:order"), "a").await.unwrap();
    doctor(&[], &env).await.is_fine("limits");
    let () = conn.hset(key("limited"), "order", 7).await.unwrap();
    doctor(&[], &env).await.has(
        "limits",
        "warning",
        "order counts its partitioned requests wrongly",
    );
}

#[tokio::test]
async fn time_too_far_ahead_is_a_warning() {
    let bench = Bench::new().await;
    let (mut conn, env) = (bench.redis.connection().await, at(&bench.redis));
    appear(&mut conn, "w", &[]).await;
    doctor(&[], &env).await.has("times", "ok", "no timestamp is too far in the future");
    let ahead = now_ms(&mut conn).await + 3_600_000;
    let () = conn.zadd(WORKERS, "w", ahead).await.unwrap();
    let () = conn.hset("redcall:{default}:ticks", "nightly", ahead).await.unwrap();
    let () = conn.expire("redcall:{default}:ticks", 60).await.unwrap();
    let before = (keys(&mut conn).await, changes(&mut conn).await);
    let seen = doctor(&[], &env).await;
    seen.has("times", "warning", "w in workers of default by 59m");
    seen.has("times", "warning", "nightly in ticks of default by 59m");
    seen.has("workers", "warning", "no worker is alive");
    assert_eq!((keys(&mut conn).await, changes(&mut conn).await), before);
}

/// How often anything has been written since the server's start.
async fn changes(conn: &mut MultiplexedConnection) -> String {
    let info = redis::cmd("INFO").arg("persistence").to_owned();
    let info: String = info.query_async(conn).await.unwrap();
    let field = info.lines().find(|line| line.starts_with("rdb_changes_since_last_save:"));
    field.unwrap().to_owned()
}

#[tokio::test]
async fn state_that_was_changed_at_redis_is_a_problem() {
    let mut bench = Bench::new().await;
    let secret = "0123456789abcdef0123456789abcdef";
    let key = AuthKey { secret: Secret::new(secret), jobs: vec!["*".to_owned()] };
    let (ring, sign_with) = ([("web".to_owned(), key)].into(), Some("web".to_owned()));
    bench.settings.auth = Some(AuthSettings { keys: ring, sign_with, required: true });
    bench.settings.services.insert("counter".to_owned(), counter_service());
    let _worker = bench.worker_with(counter).await;
    bench.client().await.service("counter").instance("one").initialize(&1).await.unwrap();
    let mut env = at(&bench.redis);
    let plain = doctor(&[], &env).await;
    assert!(!plain.checks().contains(&"states"), "nothing to judge without keys");
    env.insert("REDCALL__AUTH__KEYS__OTHER__SECRET".to_owned(), format!("other {secret}"));
    doctor(&[], &env).await.has("states", "ok", "0 with a valid signature, 1 under other");
    env.insert("REDCALL__AUTH__KEYS__WEB__SECRET".to_owned(), secret.to_owned());
    doctor(&[], &env).await.has("states", "ok", "1 with a valid signature");
    let mut conn = bench.redis.connection().await;
    let state = "redcall:{service:counter}:state:one";
    let () = conn.hset(state, "version", 7).await.unwrap();
    let expected = "without a valid signature: `one` on service:counter";
    doctor(&[], &env).await.has("states", "problem", expected);
}
