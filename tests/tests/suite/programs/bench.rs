//! `redcall bench`, for a moment each.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use redcall_testkit::eventually;
use redcall_tests::Bench;
use redis::AsyncCommands;
use serde_json::Value;

use crate::support::{QUEUE, Ran};

async fn run(bench: &Bench, args: &[&str]) -> Ran {
    let args = [&["bench", "--json"], args].concat();
    Ran::new("redcall", &args, &bench.environment()).await
}

/// The one object that it prints, whose names are fixed.
fn figures(ran: &Ran, names: &[&str]) -> Value {
    assert_eq!(ran.code, 0, "{ran:?}");
    let figures: Value = serde_json::from_str(&ran.stdout).unwrap();
    let mut seen: Vec<&String> = figures.as_object().unwrap().keys().collect();
    seen.sort_unstable();
    assert_eq!(seen, names);
    figures
}

#[tokio::test]
async fn calls_are_counted_and_timed() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let moment = ["--duration", "200ms", "--warm-up", "0s"];
    let ran = run(&bench, &[&["call", "--callers", "8"][..], &moment].concat()).await;
    let names = ["calls", "calls_per_s", "errors", "p50_us", "p999_us", "p99_us"];
    let seen = figures(&ran, &names);
    let number = |name: &str| seen[name].as_f64().unwrap();
    assert!(number("calls") > 8.0 && number("errors") == 0.0, "{seen}");
    assert!(number("p50_us") <= number("p99_us") && number("p99_us") <= number("p999_us"));
    // Some fail: they are counted, and are no speed.
    let job = ["--job", "fail", "--data", "null"];
    let ran = run(&bench, &[&["call"][..], &moment, &job].concat()).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.says("not one call was answered");
}

#[tokio::test]
async fn what_is_enqueued_is_what_lies_in_the_queue() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    let mut lies = 0;
    for how in [["--callers", "20"], ["--batch", "100"]] {
        let ran = run(&bench, &[&["enqueue", "--duration", "100ms"][..], &how].concat()).await;
        let seen = figures(&ran, &["errors", "jobs", "jobs_per_s"]);
        lies += seen["jobs"].as_u64().unwrap();
        assert_eq!(conn.llen::<_, u64>(QUEUE).await.unwrap(), lies, "{seen}");
    }
}

#[tokio::test]
async fn a_queue_is_filled_and_drained_with_and_without_answers() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let mut conn = bench.redis.connection().await;
    for (answers, expected) in [(None, 0), (Some("--answers"), 500)] {
        let mut args = vec!["drain", "--jobs", "500"];
        args.extend(answers);
        let ran = run(&bench, &args).await;
        let seen = figures(&ran, &["errors", "jobs", "jobs_per_s"]);
        assert_eq!((seen["jobs"].as_u64(), seen["errors"].as_u64()), (Some(500), Some(0)));
        assert_eq!(conn.llen::<_, u64>(QUEUE).await.unwrap(), 0);
        let keys: Vec<String> = conn.keys("redcall:{default}:response:*").await.unwrap();
        assert_eq!(keys.len(), expected);
    }
}

#[tokio::test]
async fn a_queue_that_is_somebodys_is_not_drained() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    run(&bench, &["drain"]).await.says("no worker listens on queue `default`");
    let _worker = bench.worker().await;
    client.pause("default").await.unwrap();
    run(&bench, &["drain"]).await.says("queue `default` is paused");
    client.resume("default").await.unwrap();
    let running = client.request("sleep").data(&serde_json::json!({"ms": 60_000}));
    let ticket = running.submit().await.unwrap();
    eventually("it to run", async || {
        (client.inspect().queue("default").await.unwrap().running == 1).then_some(())
    })
    .await;
    let ran = run(&bench, &["drain"]).await;
    assert_eq!(ran.code, 1);
    ran.says("queue `default` has 1 jobs");
    assert!(!client.is_paused("default").await.unwrap());
    ticket.cancel().await.unwrap();
}

#[tokio::test]
async fn the_scenarios_run_beside_their_floors() {
    let short = ["run", "s1", "s2", "--rounds", "1", "--lasts", "100"];
    let ran = Ran::new("redcall-bench", &short, &[].into()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for row in ["| F1 | ", "| F2 | ", "| Redcall | ", " x F1; ", " x F2; "] {
        assert!(ran.stdout.contains(row), "no {row} in\n{}", ran.stdout);
    }
    let wrong = Ran::new("redcall-bench", &["run", "s0"], &[].into()).await;
    wrong.says("there is no scenario `s0`");
}
