//! Repairs by heartbeats are lines of a worker's log: keys of limited names, times in the future.

use redcall_testkit::eventually;
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::failures::Loud;
use super::lines::parsed;

fn key(what: &str) -> String {
    format!("redcall:{{default}}:{what}")
}

/// Waits for a warning with this message.
async fn warning(loud: &Loud, message: &str) -> Value {
    let line = async || {
        let has_it = |line: &Value| line["message"].as_str().is_some_and(|own| own == message);
        parsed(&loud.worker.log()).into_iter().find(has_it)
    };
    let line = eventually("the warning", line).await;
    assert_eq!((&line["level"], &line["queue"]), (&"WARN".into(), &"default".into()), "{line}");
    line
}

#[tokio::test]
async fn repaired_limit_and_one_that_cannot_be_repaired_are_warnings() {
    let loud = Loud::start("redcall-worker", "jobs.sleep.limit = { concurrency = 1 }\n").await;
    for _ in 0..2 {
        loud.client.request("sleep").data(&json!({"ms": 60_000})).submit().await.unwrap();
    }
    let mut conn = loud.bench.redis.connection().await;
    eventually("one to wait for the other", async || {
        let held: redis::RedisResult<bool> = conn.sismember(key("held:sleep"), "").await;
        held.unwrap_or(false).then_some(())
    })
    .await;
    let () = conn.del(key("held:sleep")).await.unwrap();
    let line =
        warning(&loud, "repaired a limit: its key has partitioned requests and gets no turn").await;
    assert_eq!((&line["name"], &line["count"]), (&"sleep".into(), &1.into()), "{line}");
    eventually("it to be held again", async || {
        let held: bool = conn.sismember(key("held:sleep"), "").await.unwrap();
        held.then_some(())
    })
    .await;
    let () = conn.del(key("held:sleep")).await.unwrap();
    let () = conn.set(key("held:sleep"), "no set").await.unwrap();
    let line = warning(&loud, "cannot repair a limit: has a value of another type").await;
    assert_eq!((&line["name"], &line["key"]), (&"sleep".into(), &key("held:sleep").into()));
}

#[tokio::test]
async fn times_reset_after_a_step_of_the_clock_are_one_warning() {
    let loud = Loud::start("redcall-worker", "").await;
    let mut conn = loud.bench.redis.connection().await;
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query_async(&mut conn).await.unwrap();
    // As a clock leaves them behind that was an hour and two hours ahead.
    let ticks = [("nightly", (seconds + 3600) * 1000), ("weekly", (seconds + 7200) * 1000)];
    let () = conn.hset_multiple(key("ticks"), &ticks).await.unwrap();
    let line = warning(&loud, "reset times in the future: Redis's clock was set back").await;
    assert_eq!((&line["key"], &line["member"]), (&"ticks".into(), &"weekly".into()), "{line}");
    assert_eq!(line["count"], 2, "{line}");
    let ahead = line["ahead_ms"].as_u64().unwrap();
    assert!((7_100_000..=7_200_000).contains(&ahead), "{line}");
    // A later heartbeat finds nothing to report.
    let same = |line: &Value| line["message"].as_str().is_some_and(|own| own.starts_with("reset"));
    assert_eq!(parsed(&loud.worker.log()).iter().filter(|line| same(line)).count(), 1);
}
