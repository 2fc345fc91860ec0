//! Recurring schedules: each tick once despite dead workers; missed ticks; the workers that run
//! them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use redcall_common::cron::Cron;
use redcall_common::settings::{HandlerSettings, JobSettings, Missed, ScheduleSettings};
use redcall_testkit::eventually;
use redcall_tests::{Bench, Program};
use redcall_worker::{Json, Request, State};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use crate::support::{Logged, now_ms as now};

/// A queue without workers, so that every enqueued request can be read.
const ASIDE: &str = "redcall:{aside}:queue";
const TICKS: &str = "redcall:{aside}:ticks";

/// A schedule of `cron` that goes aside.
fn schedule(cron: &str, missed: Missed) -> ScheduleSettings {
    ScheduleSettings {
        job: "note".to_owned(),
        data: r#"{"to":["all"]}"#.to_owned(),
        queue: Some("aside".to_owned()),
        cron: cron.to_owned(),
        timezone: "UTC".to_owned(),
        missed,
    }
}

/// The times of the ticks of schedule `name` that lie aside, in the order of the queue.
async fn enqueued(conn: &mut MultiplexedConnection, name: &str) -> Vec<u64> {
    let elements: Vec<String> = conn.lrange(ASIDE, 0, -1).await.unwrap();
    let time = |element: &String| {
        let element: serde_json::Value = serde_json::from_str(element).unwrap();
        let time = element["id"].as_str().unwrap().strip_prefix(&format!("tick-{name}-"));
        Some(time?.parse().unwrap())
    };
    elements.iter().filter_map(time).collect()
}

#[tokio::test]
async fn every_tick_is_enqueued_once_although_workers_are_killed() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    let mut env = bench.environment();
    let keys = [
        ("JOB", "echo"),
        ("CRON", "* * * * * *"),
        ("QUEUE", "aside"),
        // Where a loaded machine takes long to start the next worker.
        ("MISSED", "all"),
    ];
    for (key, value) in keys {
        env.insert(format!("REDCALL__SCHEDULES__SECOND__{key}"), value.to_owned());
    }
    let worker = || Program::start("redcall-worker", &[], &env);
    let mut workers: Vec<Program> = (0..3).map(|_| worker()).collect();
    let start: u64 = eventually("the schedule to start", async || {
        conn.hget::<_, _, Option<u64>>(TICKS, "second").await.unwrap()
    })
    .await;
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    for seen in 1..=10 {
        eventually("the next tick", async || {
            (enqueued(&mut conn, "second").await.len() >= seen).then_some(())
        })
        .await;
        match (seed as usize >> seen) % 4 {
            // SIGKILL, at any point of its work.
            victim @ 0..3 => drop(std::mem::replace(&mut workers[victim], worker())),
            _ => {
                let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").to_owned();
                let _: usize = kill.query_async(&mut conn).await.unwrap();
            }
        }
    }
    drop(workers);
    let ticks = enqueued(&mut conn, "second").await;
    let first = start / 1000 * 1000 + 1000;
    let expected: Vec<u64> = (first..).step_by(1000).take(ticks.len()).collect();
    assert_eq!(ticks, expected, "seed {seed}");
}

#[tokio::test]
async fn last_tick_beyond_the_calendar_is_logged_and_skipped() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    let mut env = bench.environment();
    for (key, value) in [("JOB", "echo"), ("CRON", "* * * * * *"), ("QUEUE", "aside")] {
        env.insert(format!("REDCALL__SCHEDULES__SECOND__{key}"), value.to_owned());
    }
    // The year 5138, an impossible value.
    let () = conn.hset(TICKS, "second", 100_000_000_000_000_u64).await.unwrap();
    let worker = Logged::start("redcall-worker", &[], &env);
    let now = now(&mut conn).await;
    let line = worker.line("resetting a schedule").await;
    assert!(line.contains("schedule=\"second\"") && line.contains("WARN"), "{line}");
    let ticks = eventually("two ticks", async || {
        Some(enqueued(&mut conn, "second").await).filter(|ticks| ticks.len() >= 2)
    })
    .await;
    // Soon after it was reset, and not in that year; later where the machine is slow.
    assert!(ticks[0] > now && ticks[0] <= now + 15_000, "{ticks:?} after {now}");
    assert_eq!(worker.log().matches("resetting a schedule").count(), 1, "{}", worker.log());
}

#[tokio::test]
async fn tick_without_room_is_logged_once() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    let mut env = bench.environment();
    for (key, value) in [("JOB", "echo"), ("CRON", "* * * * * *"), ("QUEUE", "aside")] {
        env.insert(format!("REDCALL__SCHEDULES__SECOND__{key}"), value.to_owned());
    }
    env.insert("REDCALL__QUEUES__ASIDE__MAX_LENGTH".to_owned(), "1".to_owned());
    let worker = Logged::start("redcall-worker", &[], &env);
    let line = worker.line("its queue is full").await;
    assert!(line.contains("schedule=\"second\"") && line.contains("queue=\"aside\""), "{line}");
    // Not again while the queue stays full: the next ticks find it so as well.
    let two_more = now(&mut conn).await + 2_500;
    eventually("two further ticks to be due", async || {
        (now(&mut conn).await > two_more).then_some(())
    })
    .await;
    assert_eq!(worker.log().matches("its queue is full").count(), 1, "{}", worker.log());
    // It continues as soon as there is room.
    let () = conn.del(ASIDE).await.unwrap();
    eventually("a further tick", async || {
        (!enqueued(&mut conn, "second").await.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_tick_comes_in_time() {
    let mut bench = Bench::new().await;
    let every_second = schedule("* * * * * *", Missed::Skip);
    bench.settings.schedules.insert("second".to_owned(), every_second);
    let mut conn = bench.redis.connection().await;
    let _workers = [bench.worker().await, bench.worker().await];
    let mut late = vec![u64::MAX];
    // The best of some: the machine may be busy with other tests.
    while late.len() < 10 && late.iter().all(|late| *late > 50) {
        // Blocks until it is there.
        let pop = redis::cmd("BLPOP").arg(ASIDE).arg(5).to_owned();
        let (_, element): (String, String) = pop.query_async(&mut conn).await.unwrap();
        let element: serde_json::Value = serde_json::from_str(&element).unwrap();
        let now = now(&mut conn).await;
        late.push(now.checked_sub(element["enqueued_at"].as_u64().unwrap()).expect("not early"));
    }
    assert!(late.iter().min().is_some_and(|late| *late <= 50), "{late:?} ms late");
}

/// The ticks of the last hours with this rule: theirs, and those enqueued.
async fn made_up_for(missed: Missed) -> (Vec<u64>, Vec<u64>) {
    let mut bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    let now = now(&mut conn).await;
    // Once an hour, half an hour from now: no tick is near.
    let cron = format!("{} * * * *", (now / 60_000 + 30) % 60);
    let ticks = Cron::new(&cron, "UTC").unwrap().latest(now - 3 * 3_600_000, now, 9);
    assert_eq!(ticks.len(), 3);
    let hourly = schedule(&cron, missed);
    bench.settings.schedules.insert("hourly".to_owned(), hourly);
    // Its ticks show when the worker has made up its mind.
    let every_second = schedule("* * * * * *", Missed::Skip);
    bench.settings.schedules.insert("second".to_owned(), every_second);
    let () = conn.hset(TICKS, "hourly", now - 3 * 3_600_000).await.unwrap();
    let _workers = [bench.worker().await, bench.worker().await];
    eventually("two other ticks", async || {
        (enqueued(&mut conn, "second").await.len() >= 2).then_some(())
    })
    .await;
    (ticks, enqueued(&mut conn, "hourly").await)
}

#[tokio::test]
async fn missed_ticks_are_skipped() {
    assert_eq!(made_up_for(Missed::Skip).await.1, [0; 0]);
}

#[tokio::test]
async fn the_last_missed_tick_is_made_up_for() {
    let (ticks, enqueued) = made_up_for(Missed::Last).await;
    assert_eq!(enqueued, ticks[2..]);
}

#[tokio::test]
async fn all_missed_ticks_are_made_up_for() {
    let (ticks, enqueued) = made_up_for(Missed::All).await;
    assert_eq!(enqueued, ticks);
}

type Notes = Arc<Mutex<Vec<(String, String)>>>;

/// Notes the id and the data of each run.
async fn note(notes: State<Notes>, request: Request, Json(data): Json<serde_json::Value>) {
    notes.lock().unwrap().push((request.id().to_owned(), data.to_string()));
}

#[tokio::test]
async fn a_tick_is_run_once_by_the_worker_that_maps_its_job() {
    let mut bench = Bench::new().await;
    let notes = Notes::default();
    let mut conn = bench.redis.connection().await;
    // One runs the job and knows of no schedule; others have the schedule and not the job.
    let shared = notes.clone();
    let _runs = bench.worker_with(|worker| worker.state(shared).handler("note", note)).await;
    let every_second = ScheduleSettings { queue: None, ..schedule("* * * * * *", Missed::All) };
    bench.settings.schedules.insert("second".to_owned(), every_second);
    let _ticks = [bench.worker().await, bench.worker().await];
    let ids = |noted: &[(String, String)]| {
        let time = |(id, _): &(String, String)| id.strip_prefix("tick-second-")?.parse().ok();
        let mut ids: Vec<u64> = noted.iter().map(|run| time(run).unwrap()).collect();
        // Runs side by side may end in any order.
        ids.sort_unstable();
        ids
    };
    let noted = eventually("three ticks in a row to have run", async || {
        let noted = notes.lock().unwrap().clone();
        let all = ids(&noted).windows(2).all(|pair| pair[1] - pair[0] <= 1000);
        (noted.len() >= 3 && all).then_some(noted)
    })
    .await;
    assert!(noted.iter().all(|(_, data)| data == r#"{"to":["all"]}"#), "{noted:?}");
    let ids = ids(&noted);
    assert!(ids.windows(2).all(|pair| pair[1] - pair[0] == 1000), "{ids:?}");
    let dead: bool = conn.exists("redcall:{default}:dead").await.unwrap();
    assert!(!dead, "there are dead letters");
}

#[tokio::test]
async fn schedule_uses_its_jobs_queue_and_is_listed() {
    let mut bench = Bench::new().await;
    let mut job = JobSettings::new(HandlerSettings::Compiled("builtin:echo".to_owned()));
    job.queue = Some("aside".to_owned());
    bench.settings.jobs.insert("note".to_owned(), job);
    let every_second = ScheduleSettings { queue: None, ..schedule("* * * * * *", Missed::Skip) };
    bench.settings.schedules.insert("second".to_owned(), every_second);
    let _worker = bench.worker().await;
    let mut conn = bench.redis.connection().await;
    eventually("a tick", async || (!enqueued(&mut conn, "second").await.is_empty()).then_some(()))
        .await;
    let queues: BTreeMap<String, f64> = eventually("the queue's name", async || {
        let queues: Vec<(String, f64)> =
            conn.zrange_withscores("redcall:queues", 0, -1).await.unwrap();
        queues.iter().any(|(name, _)| name == "aside").then(|| queues.into_iter().collect())
    })
    .await;
    assert_eq!(queues.len(), 4, "{queues:?}");
}

#[tokio::test]
async fn schedule_ticks_on_when_redis_was_ahead_for_a_while() {
    let mut bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    let every_second = schedule("* * * * * *", Missed::Skip);
    bench.settings.schedules.insert("second".to_owned(), every_second);
    // As workers leave it behind that ticked while the clock was an hour ahead: for one that runs,
    // and for one that starts.
    for count in [2, 4] {
        let worker = bench.worker().await;
        for _ in 0..2 {
            let ahead = now(&mut conn).await + 3_600_000;
            let () = conn.hset(TICKS, "second", ahead).await.unwrap();
            let before = enqueued(&mut conn, "second").await.len();
            eventually("a further tick", async || {
                (enqueued(&mut conn, "second").await.len() > before).then_some(())
            })
            .await;
        }
        drop(worker);
        assert!(enqueued(&mut conn, "second").await.len() >= count);
        let ahead = now(&mut conn).await + 3_600_000;
        let () = conn.hset(TICKS, "second", ahead).await.unwrap();
    }
}
