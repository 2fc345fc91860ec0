//! A Redis whose clock is an hour ahead for a while.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use redcall_common::settings::{HandlerSettings, JobSettings, Missed, ScheduleSettings};
use redcall_testkit::{TestRedis, eventually};
use redcall_tests::Bench;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::json;

use crate::support::{LIVE, Logged, WORKERS, now_ms};

const TICKS: &str = "redcall:{aside}:queue";
const HOUR: i32 = 3600;

/// A bench whose workers enqueue a tick every second.
async fn bench() -> Bench {
    let mut bench = Bench::on(TestRedis::start_with_clock().await);
    let echo = JobSettings::new(HandlerSettings::Compiled("builtin:echo".to_owned()));
    bench.settings.jobs.insert("note".to_owned(), echo);
    let second = ScheduleSettings {
        job: "note".to_owned(),
        data: "1".to_owned(),
        queue: Some("aside".to_owned()),
        cron: "* * * * * *".to_owned(),
        timezone: "UTC".to_owned(),
        missed: Missed::Skip,
    };
    bench.settings.schedules.insert("second".to_owned(), second);
    bench.settings.worker.queues = vec!["default".to_owned()];
    bench
}

async fn ticks(conn: &mut MultiplexedConnection, more: usize) {
    let before: usize = conn.llen(TICKS).await.unwrap();
    eventually("further ticks", async || {
        (conn.llen::<_, usize>(TICKS).await.unwrap() >= before + more).then_some(())
    })
    .await;
}

#[tokio::test]
async fn schedule_ticks_after_the_clock_went_ahead_and_back() {
    let bench = bench().await;
    let mut conn = bench.redis.connection().await;
    let _worker = bench.worker().await;
    for _ in 0..2 {
        ticks(&mut conn, 1).await;
        bench.redis.set_clock(HOUR);
        // In the future, by every clock.
        ticks(&mut conn, 2).await;
        bench.redis.set_clock(0);
    }
    ticks(&mut conn, 2).await;
}

#[tokio::test]
async fn undue_tick_does_not_report_a_full_queue() {
    let bench = bench().await;
    let mut conn = bench.redis.connection().await;
    let mut env = bench.environment();
    for (key, value) in [("JOB", "echo"), ("CRON", "*/5 * * * * *"), ("QUEUE", "aside")] {
        env.insert(format!("REDCALL__SCHEDULES__FIVE__{key}"), value.to_owned());
    }
    let worker = Logged::start("redcall-worker", &[], &env);
    ticks(&mut conn, 1).await;
    // It goes back just before the tick, several times: due to the worker, and not to Redis.
    for back in 1..=6 {
        while now_ms(&mut conn).await % 5000 < 4980 {}
        bench.redis.set_clock(-back);
    }
    ticks(&mut conn, 1).await;
    assert!(!worker.log().contains("its queue is full"), "{}", worker.log());
}

#[tokio::test]
async fn worker_dead_under_a_fast_clock_is_dead_afterwards() {
    let bench = bench().await;
    let mut conn = bench.redis.connection().await;
    let client = bench.client().await;
    let mut env = bench.environment();
    env.insert("REDCALL__WORKER__QUEUES".to_owned(), "default".to_owned());
    bench.redis.set_clock(HOUR);
    let ghost = Logged::start("redcall-worker", &[], &env);
    let call = client.request("sleep").data(&json!({"ms": 2000})).submit().await.unwrap();
    eventually("the job to be leased", async || {
        conn.hexists::<_, _, bool>(LIVE, &call.id).await.unwrap().then_some(())
    })
    .await;
    drop(ghost);
    bench.redis.set_clock(0);
    let (_, ends): (String, f64) =
        conn.zrange_withscores::<_, Vec<_>>(WORKERS, 0, -1).await.unwrap().remove(0);
    assert!(ends > now_ms(&mut conn).await as f64 + 3_000_000.0);
    assert!(bench.workers().await.is_empty());
    let _worker = bench.worker().await;
    call.wait().await.unwrap();
}
