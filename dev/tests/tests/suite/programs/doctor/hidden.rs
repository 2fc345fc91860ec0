//! Work that no program of Redcall has noted: queues of plain RPUSH, jobs without a time, ticks
//! that no worker maps. `redcall queues` and `redcall doctor` show it all the same.

use redcall_tests::Bench;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

use super::{at, doctor};
use crate::support::{QUEUE, Ran, SettingsFile, keys};

/// A request of a foreign client, with no more than has to be.
const REQUEST: &str = r#"{"id":"a","name":"add","data":{"a":1,"b":1}}"#;

/// The queues that `redcall queues --json` shows, and all that it prints.
async fn queues(bench: &Bench) -> (Vec<Value>, Value) {
    let ran = Ran::new("redcall", &["queues", "--json"], &at(&bench.redis)).await;
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    (shown["queues"].as_array().unwrap().clone(), shown)
}

async fn names(bench: &Bench) -> Vec<String> {
    let (queues, _) = queues(bench).await;
    queues.iter().map(|queue| queue["queue"].as_str().unwrap().to_owned()).collect()
}

async fn push(conn: &mut MultiplexedConnection, queue: &str, request: &str) {
    let () = conn.rpush(format!("redcall:{{{queue}}}:queue"), request).await.unwrap();
}

#[tokio::test]
async fn queue_that_only_rpush_has_used_is_shown_and_found() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    push(&mut conn, "foreign", REQUEST).await;
    // Not queues of this deployment.
    for key in ["other:{theirs}:queue", "redcall2:{theirs}:queue", "redcall:{}:queue", "x"] {
        let () = conn.rpush(key, REQUEST).await.unwrap();
    }
    let before = keys(&mut conn).await;
    assert_eq!(names(&bench).await, ["foreign"]);
    let ran = Ran::new("redcall", &["queues"], &at(&bench.redis)).await;
    let row: Vec<&str> = ran.stdout.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["foreign", "open", "1", "?"]);
    let seen = doctor(&[], &at(&bench.redis)).await;
    seen.has("queues", "ok", "1 in use");
    seen.has("workers", "problem", "no worker serves foreign, where 1 wait");
    assert_eq!(keys(&mut conn).await, before, "inspection changes nothing");
}

#[tokio::test]
async fn queue_is_found_by_any_key_that_holds_its_work() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    // As when their names have been forgotten: they are kept for 30 days.
    let () = conn.hset("redcall:{later}:scheduled", "a", REQUEST).await.unwrap();
    let () = conn.zadd("redcall:{later}:schedule", "a", 9e12).await.unwrap();
    let add = redis::cmd("XADD").arg("redcall:{dead}:dead").arg("*").arg("id").arg("a").to_owned();
    let _: String = add.query_async(&mut conn).await.unwrap();
    let () = conn.sadd("redcall:{parked}:parked", "absent").await.unwrap();
    let () = conn.rpush("redcall:{parked}:parked:absent", REQUEST).await.unwrap();
    assert_eq!(names(&bench).await, ["dead", "later", "parked"]);
    let seen = doctor(&[], &at(&bench.redis)).await;
    seen.has("workers", "problem", "no worker serves parked, where 1 wait");
    seen.has("workers", "problem", "no worker serves later");
    seen.has("dead", "note", "1 on dead");
}

#[tokio::test]
async fn queue_is_found_among_many_keys_or_a_cut_scan_reported() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    for some in (0..100_000).collect::<Vec<u32>>().chunks(10_000) {
        let mut pipe = redis::pipe();
        for n in some {
            pipe.cmd("SET").arg(format!("redcall:{{q}}:response:{n}")).arg(1).ignore();
        }
        let () = pipe.query_async(&mut conn).await.unwrap();
    }
    push(&mut conn, "foreign", REQUEST).await;
    let (found, shown) = queues(&bench).await;
    // A machine that takes longer than a second for all keys reports that it has not read them.
    let is_cut = shown["complete"] == json!(false);
    assert!(is_cut || found.iter().any(|queue| queue["queue"] == "foreign"), "{shown}");
    // Without the right to SCAN, the listing reports that queues may be missing.
    let acl = "SETUSER blind on >secret ~* &* +@all -scan";
    let acl: Vec<&str> = acl.split(' ').collect();
    let () = redis::cmd("ACL").arg(acl).query_async(&mut conn).await.unwrap();
    let mut env = at(&bench.redis);
    let url = format!("{}?user=blind&pass=secret", bench.redis.url());
    env.insert("REDIS_URL".to_owned(), url);
    let ran = Ran::new("redcall", &["queues", "--json"], &env).await;
    assert_eq!(ran.stdout, "{\"complete\":false,\"queues\":[]}\n");
    let ran = Ran::new("redcall", &["queues"], &env).await;
    assert!(ran.stderr.contains("a queue used only by plain RPUSH may be missing"), "{ran:?}");
}

#[tokio::test]
async fn queue_that_cannot_be_read_hides_no_other() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    let () = conn.set("redcall:{broken}:queue", "not a list").await.unwrap();
    push(&mut conn, "good", REQUEST).await;
    let (found, shown) = queues(&bench).await;
    assert_eq!((found.len(), &found[0]["queue"]), (1, &json!("good")), "{shown}");
    assert_eq!(shown["unreadable"][0]["queue"], "broken", "{shown}");
    let seen = doctor(&[], &at(&bench.redis)).await;
    seen.has("queues", "problem", "broken cannot be read: ");
    seen.has("workers", "problem", "no worker serves good");
}

#[tokio::test]
async fn jobs_of_unknown_age_are_never_ok() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    // All slots of the only worker are taken.
    let mut bench = bench;
    bench.settings.worker.concurrency = 1;
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let long = client.request("sleep").data(&json!({"ms": 600_000})).submit().await.unwrap();
    redcall_testkit::eventually("it to run", async || {
        let live = "redcall:{default}:live";
        (conn.hlen::<_, u64>(live).await.unwrap() == 1).then_some(())
    })
    .await;
    push(&mut conn, "default", REQUEST).await;
    let seen = doctor(&[], &at(&bench.redis)).await;
    seen.has("oldest", "warning", "jobs of unknown age wait, and none was taken within 1");
    let (found, _) = queues(&bench).await;
    let of_default = found.iter().find(|queue| queue["queue"] == "default").unwrap();
    assert_eq!((&of_default["length"], &of_default["oldest_ms"]), (&json!(1), &Value::Null));
    // One after it that has a time gives its own.
    client.call("add", &json!({"a": 1, "b": 1})).await.unwrap();
    let (found, _) = queues(&bench).await;
    let of_default = found.iter().find(|queue| queue["queue"] == "default").unwrap();
    assert!(of_default["oldest_ms"].is_u64(), "{of_default}");
    drop(long);
}

#[tokio::test]
async fn jobs_of_unknown_age_in_a_queue_that_drains_are_a_note() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    let mut bench = bench;
    bench.settings.worker.concurrency = 1;
    let _worker = bench.worker().await;
    // A head that moves every 100 ms, for far longer than the doctor reads.
    let naps = (0..400).map(|n| format!(r#"{{"id":"n{n}","name":"sleep","data":{{"ms":100}}}}"#));
    let () = conn.rpush(QUEUE, naps.collect::<Vec<_>>()).await.unwrap();
    let seen = doctor(&[], &at(&bench.redis)).await;
    seen.has("oldest", "note", "jobs of unknown age wait: ");
    seen.is_fine("oldest");
}

#[tokio::test]
async fn retried_dead_letter_keeps_its_age_and_restarts_its_budget() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query_async(&mut conn).await.unwrap();
    let since = (seconds - 3600) * 1000;
    let times = format!(r#","enqueued_at":{since},"budget_ms":30000}}"#);
    let request = REQUEST.replace("1}}", "1}") + &times;
    let mut dead_letter = redis::cmd("XADD");
    dead_letter
        .arg("redcall:{default}:dead")
        .arg("*")
        .arg("id")
        .arg("a")
        .arg("code")
        .arg("timeout");
    dead_letter.arg("request").arg(&request);
    let _: String = dead_letter.query_async(&mut conn).await.unwrap();
    let ran = Ran::new("redcall", &["dead", "retry", "a"], &at(&bench.redis)).await;
    assert_eq!((ran.code, &*ran.stdout), (0, "1 requeued\n"));
    let queued: Vec<String> = conn.lrange(QUEUE, 0, -1).await.unwrap();
    assert!(queued[0].contains(&format!(r#""enqueued_at":{since}"#)), "{queued:?}");
    doctor(&[], &at(&bench.redis)).await.has(
        "oldest",
        "warning",
        "the oldest job has waited for 1h",
    );
    // An hour is more than its budget: it runs all the same.
    let _worker = bench.worker().await;
    redcall_testkit::eventually("it to be done", async || {
        let left: u64 = conn.llen(QUEUE).await.unwrap();
        let live: u64 = conn.hlen("redcall:{default}:live").await.unwrap();
        (left + live == 0).then_some(())
    })
    .await;
    let dead: u64 =
        redis::cmd("XLEN").arg("redcall:{default}:dead").query_async(&mut conn).await.unwrap();
    assert_eq!(dead, 0);
}

#[tokio::test]
async fn schedule_whose_job_no_worker_maps_is_bad() {
    let bench = Bench::new().await;
    let file = SettingsFile::new(
        "[jobs.add]\nhandler = 'builtin:add'\n[schedules.nightly]\njob = 'ad'\ncron = '0 3 * * *'\n\
         [schedules.hourly]\njob = 'add'\ncron = '0 * * * *'\n",
    );
    let args = ["--settings", file.arg()];
    let seen = doctor(&args, &at(&bench.redis)).await;
    seen.has("schedules", "warning", "nightly: no live worker of default maps `ad`");
    seen.has("schedules", "warning", "hourly: no live worker of default maps `add`");
    let _worker = bench.worker().await;
    let seen = doctor(&args, &at(&bench.redis)).await;
    seen.has("schedules", "problem", "nightly: no live worker of default maps `ad`");
    let of_hourly = |finding: &Value| finding["what"].as_str().unwrap().starts_with("hourly");
    assert!(!seen.findings().iter().any(of_hourly));
}
