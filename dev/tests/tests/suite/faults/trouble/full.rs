//! A Redis without memory: operations that free memory, or are needed meanwhile, still work.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use redcall_client::{Code, CompletionToken};
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redcall_worker::{HandlerError, Request, State};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::{DEAD, LIVE, Logged, QUEUE, Ran};

/// Has Redis refuse everything that it may refuse.
async fn fill(conn: &mut MultiplexedConnection) {
    let set = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").to_owned();
    let () = set.query_async(conn).await.unwrap();
    let set = redis::cmd("SET").arg("more").arg("1").to_owned();
    assert!(set.exec_async(conn).await.is_err(), "Redis still takes more");
}

/// A dead letter by hand.
async fn dead_letter(conn: &mut MultiplexedConnection, id: &str) {
    let mut add = redis::cmd("XADD");
    add.arg(DEAD).arg("*").arg("id").arg(id).arg("code").arg("timeout").arg("reason").arg("why");
    add.arg("worker").arg("w").arg("request");
    add.arg(format!(r#"{{"id":"{id}","name":"echo","data":1}}"#));
    let _: String = add.query_async(conn).await.unwrap();
}

/// Runs `redcall` with these arguments, which has to succeed; returns its output.
async fn redcall(args: &[&str], env: &BTreeMap<String, String>) -> String {
    let ran = Ran::new("redcall", args, env).await;
    assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
    ran.stdout
}

/// How many dead letters there are.
async fn letters(conn: &mut MultiplexedConnection) -> usize {
    redis::cmd("XLEN").arg(DEAD).query_async(conn).await.unwrap()
}

/// Returns the ids of the queued requests.
async fn queued(conn: &mut MultiplexedConnection) -> Vec<String> {
    let elements: Vec<String> = conn.lrange(QUEUE, 0, -1).await.unwrap();
    let id = |element: &String| serde_json::from_str::<Value>(element).unwrap()["id"].to_string();
    elements.iter().map(id).collect()
}

#[tokio::test]
async fn full_redis_is_paused_resumed_and_relieved_by_the_cli() {
    let bench = Bench::new().await;
    let (env, mut conn) = (bench.environment(), bench.redis.connection().await);
    let client = bench.client().await;
    let first = client.request("echo").data(&1).submit().await.unwrap();
    let second = client.request("echo").data(&2).submit().await.unwrap();
    for id in ["retried", "purged", "kept"] {
        dead_letter(&mut conn, id).await;
    }
    fill(&mut conn).await;

    // An unknown queue is found by the next reading of the queues.
    assert!(redcall(&["pause", "default", "fresh"], &env).await.contains("fresh: paused"));
    let shown: Value = serde_json::from_str(&redcall(&["queues", "--json"], &env).await).unwrap();
    let paused = shown["queues"].as_array().unwrap().iter().filter(|q| q["paused"] == true);
    assert_eq!(paused.count(), 2, "{shown}");
    let resumed = redcall(&["resume", "default", "fresh"], &env).await;
    assert_eq!(resumed, "default: resumed\nfresh: resumed\n");

    redcall(&["cancel", &first.id, "--queue", "default"], &env).await;
    redcall(&["cancel", &second.id], &env).await;
    let tombstones: usize = conn.zcard("redcall:{default}:cancelled").await.unwrap();
    assert_eq!(tombstones, 2);

    redcall(&["dead", "list"], &env).await;
    redcall(&["dead", "purge", "purged"], &env).await;
    redcall(&["dead", "retry", "retried"], &env).await;
    assert_eq!(letters(&mut conn).await, 1);
    assert_eq!(queued(&mut conn).await.last().unwrap(), "\"retried\"");
    // All of it is done and Redis is empty of it, while it still is full.
    let _worker = bench.worker().await;
    eventually("the queue to be empty", async || {
        let left: usize = conn.exists(&[QUEUE, LIVE]).await.unwrap();
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(first.wait().await.unwrap_err().code(), Code::Cancelled);
}

#[tokio::test]
async fn full_redis_is_paused_resumed_and_relieved_by_library_calls() {
    let bench = Bench::new().await;
    let (client, mut conn) = (bench.client().await, bench.redis.connection().await);
    let ticket = client.request("echo").data(&1).submit().await.unwrap();
    for id in ["a", "b", "c"] {
        dead_letter(&mut conn, id).await;
    }
    fill(&mut conn).await;
    assert!(client.pause("default").await.unwrap());
    assert!(client.resume("default").await.unwrap());
    assert!(client.pause("fresh").await.unwrap() && client.resume("fresh").await.unwrap());
    ticket.cancel().await.unwrap();
    let dead = client.dead("default");
    let all = redcall_client::DeadSelection::default();
    let one = redcall_client::DeadSelection { ids: vec!["b".to_owned()], ..all.clone() };
    assert_eq!(dead.purge(&one, false).await.unwrap().done.len(), 1);
    let retried = dead.retry(&all, false).await.unwrap();
    assert_eq!((retried.done.len(), retried.full), (2, false), "{retried:?}");
    assert_eq!(queued(&mut conn).await[1..], ["\"a\"", "\"c\""]);
    assert_eq!(letters(&mut conn).await, 0);
}

#[tokio::test]
async fn full_redis_blocks_neither_start_nor_take_over_nor_drain() {
    let bench = Bench::new().await;
    let mut env = bench.environment();
    env.insert("REDCALL__WORKER__QUEUES".to_owned(), "default".to_owned());
    env.insert("REDCALL__WORKER__DRAIN_TIMEOUT".to_owned(), "100ms".to_owned());
    let (client, mut conn) = (bench.client().await, bench.redis.connection().await);
    let ticket = client.request("sleep").data(&json!({"ms": 600_000})).submit().await.unwrap();
    // The name of the worker's queue is not noted yet.
    let () = conn.del("redcall:queues").await.unwrap();
    fill(&mut conn).await;
    let leased = async |conn: &mut MultiplexedConnection| {
        eventually("the job to be leased", async || {
            conn.hexists::<_, _, bool>(LIVE, &ticket.id).await.unwrap().then_some(())
        })
        .await;
    };

    let killed = Logged::start("redcall-worker", &[], &env);
    killed.line(" ready ").await;
    leased(&mut conn).await;
    let shown = redcall(&["workers", "--json"], &env).await;
    assert!(shown.contains(&format!("\"pid\":{}", killed.pid())), "{shown}");
    drop(killed);
    let drained = Logged::start("redcall-worker", &[], &env);
    drained.line("took over the jobs of a dead worker").await;
    leased(&mut conn).await;
    drained.signal(Signal::TERM);
    drained.line("stopped").await;
    assert_eq!(queued(&mut conn).await, [format!("\"{}\"", ticket.id)]);
    let left: usize = conn.exists(&[LIVE, "redcall:{default}:workers"]).await.unwrap();
    assert_eq!(left, 0);
}

type Tokens = mpsc::UnboundedSender<CompletionToken>;

/// Defers its request; it is settled within as many ms as its data state.
async fn defer(request: Request, tokens: State<Tokens>) -> Result<(), HandlerError> {
    let ms = serde_json::from_str(request.data().get())?;
    let token = request.defer_with_notification(&1, Some(Duration::from_millis(ms))).await?;
    tokens.send(token)?;
    Ok(())
}

#[tokio::test]
async fn full_redis_settles_by_token_and_by_deadline() {
    let bench = Bench::new().await;
    let (leave, mut tokens) = mpsc::unbounded_channel();
    let build =
        |worker: redcall_worker::Worker| worker.state::<Tokens>(leave).handler("defer", defer);
    let _worker = bench.worker_with(build).await;
    let (client, mut conn) = (bench.client().await, bench.redis.connection().await);
    let mut tickets = Vec::new();
    for ms in [600_000, 600_001, 1_000] {
        let ticket = client.request("defer").data(&ms).submit().await.unwrap();
        tickets.push((ticket, tokens.recv().await.unwrap()));
    }
    fill(&mut conn).await;
    let [(by_cli, token), (by_call, other), (late, _)] = tickets.try_into().ok().unwrap();
    let mut env = bench.environment();
    env.insert("REDCALL_TOKEN".to_owned(), token.reveal());
    redcall(&["settle", "7"], &env).await;
    assert_eq!(by_cli.wait().await.unwrap().data.get(), "7");
    assert!(client.settle(&other, Ok(8)).await.unwrap());
    assert_eq!(by_call.wait().await.unwrap().data.get(), "8");
    assert_eq!(late.wait().await.unwrap_err().code(), Code::DeadlineExceeded);
}

/// Part of the data of each request whose copies are counted.
const COPIED: &str = "an-element-that-is-moved";

/// Returns how often scripts stored an element with [`COPIED`] during `run`, and the most elements
/// by which Redis had grown between two of their commands.
async fn growth_during(bench: &Bench, run: impl AsyncFnOnce()) -> (usize, i32) {
    const END: &str = "end of the run";
    let monitor = redis::Client::open(bench.redis.url()).unwrap().get_async_monitor().await;
    let mut lines = monitor.unwrap().into_on_message::<String>();
    run().await;
    let mut conn = bench.redis.connection().await;
    let _: String = redis::cmd("ECHO").arg(END).query_async(&mut conn).await.unwrap();
    let (mut stored, mut grown, mut max) = (0, 0, 0_i32);
    loop {
        let line = lines.next().await.unwrap();
        if line.contains(END) {
            return (stored, max);
        }
        let (by, command) = line.split_once("] \"").unwrap();
        let in_place = line.contains(":leases:") || line.contains(":scheduled\"");
        match command.split('"').next().unwrap().to_ascii_lowercase().as_str() {
            _ if !by.ends_with(" lua") => {}
            "lpush" | "rpush" | "xadd" | "hset" if line.contains(COPIED) => {
                (stored, grown) = (stored + 1, grown + 1);
                max = max.max(grown);
            }
            "xdel" => grown -= 1,
            "hdel" if in_place => grown -= 1,
            _ => {}
        }
    }
}

#[tokio::test]
async fn full_redis_holds_at_most_one_element_twice() {
    let bench = Bench::new().await;
    let mut env = bench.environment();
    env.insert("REDCALL__WORKER__QUEUES".to_owned(), "default".to_owned());
    env.insert("REDCALL__WORKER__DRAIN_TIMEOUT".to_owned(), "100ms".to_owned());
    let (client, mut conn) = (bench.client().await, bench.redis.connection().await);
    let data = json!({"ms": 600_000, "more": COPIED});
    let worker = Logged::start("redcall-worker", &[], &env);
    worker.line(" ready ").await;
    for _ in 0..3 {
        client.request("sleep").data(&data).send().await.unwrap();
    }
    eventually("all jobs to have leases", async || {
        (conn.hlen::<_, usize>(LIVE).await.unwrap() == 3).then_some(())
    })
    .await;
    let later = client.request("sleep").data(&data).delay(Duration::from_secs(600));
    let later = later.send().await.unwrap();
    fill(&mut conn).await;

    let drain = async || {
        worker.signal(Signal::TERM);
        worker.line("stopped").await;
    };
    assert_eq!(growth_during(&bench, drain).await, (3, 1));
    let cancel = async || {
        client.cancel_in("default", &later.id).await.unwrap();
    };
    assert_eq!(growth_during(&bench, cancel).await, (1, 1));
    assert_eq!(queued(&mut conn).await.len(), 4);

    let set = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("0").to_owned();
    let () = set.query_async(&mut conn).await.unwrap();
    for id in ["a", "b", "c"] {
        let mut add = redis::cmd("XADD");
        add.arg(DEAD).arg("*").arg("id").arg(id).arg("code").arg("timeout").arg("reason");
        add.arg("why").arg("worker").arg("w").arg("request");
        add.arg(format!(r#"{{"id":"{id}","name":"echo","data":"{COPIED}"}}"#));
        let _: String = add.query_async(&mut conn).await.unwrap();
    }
    fill(&mut conn).await;
    let retry = async || {
        let all = redcall_client::DeadSelection::default();
        client.dead("default").retry(&all, false).await.unwrap();
    };
    assert_eq!(growth_during(&bench, retry).await, (3, 1));
}
