//! The same call twice: one run and one end for all callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redcall_client::{Client, Code};
use redcall_testkit::eventually;
use redcall_tests::{Bench, RunningWorker};
use redcall_worker::{HandlerError, Json, Request, State};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::json;
use tokio::sync::Semaphore;

use super::{connection, dies, job, keys};
use crate::support::waited;

/// How many runs there were, and how many of those that are held may end.
#[derive(Clone)]
struct Runs(Arc<AtomicUsize>, Arc<Semaphore>);

impl Default for Runs {
    fn default() -> Self {
        Self(Arc::default(), Arc::new(Semaphore::new(0)))
    }
}

/// The time of a run that is held until the test ends it.
const HELD: Option<u64> = Some(u64::MAX);

/// Runs for `ms`, and answers with the number of its run; without a time it fails.
async fn pay(runs: State<Runs>, Json(ms): Json<Option<u64>>) -> Result<Json<usize>, HandlerError> {
    let run = runs.0.fetch_add(1, Ordering::SeqCst) + 1;
    match ms {
        HELD => runs.1.acquire().await?.forget(),
        Some(ms) => super::works(Duration::from_millis(ms)).await,
        None => return Err(HandlerError::new("no money")),
    }
    Ok(Json(run))
}

async fn worker(bench: &Bench, runs: &Runs) -> RunningWorker {
    let runs = runs.clone();
    bench.worker_with(|worker| worker.state(runs).handler("pay", pay)).await
}

fn payment(client: &Client, ms: Option<u64>) -> redcall_client::RequestBuilder {
    client.request("pay").data(&ms).idempotency_key("order 7")
}

async fn running(runs: &Runs) {
    eventually("it to run", async || (runs.0.load(Ordering::SeqCst) == 1).then_some(())).await;
}

#[tokio::test]
async fn duplicate_call_gets_the_same_answer_during_and_after() {
    let bench = Bench::new().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let clients = [bench.client().await, bench.client().await];
    let calls = (0..20).map(|n| payment(&clients[n % 2], Some(200)).wait());
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap().json::<usize>().unwrap(), 1);
    }
    let later = bench.client().await;
    let answer = payment(&later, Some(200)).wait().await.unwrap();
    assert_eq!(answer.json::<usize>().unwrap(), 1);
    assert_eq!(runs.0.load(Ordering::SeqCst), 1);
    // Another key is another call.
    let other = later.request("pay").data(&Some(0)).idempotency_key("order 8");
    assert_eq!(other.wait().await.unwrap().json::<usize>().unwrap(), 2);
}

#[tokio::test]
async fn restarted_caller_finds_its_call() {
    let bench = Bench::new().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    // Two callers, so that the call continues when the first of them disappears.
    let first = bench.client().await;
    let crashed = tokio::spawn(async move { payment(&first, HELD).wait().await });
    running(&runs).await;
    let second = bench.client().await;
    let again = tokio::spawn(async move { payment(&second, HELD).wait().await });
    let fields = async |count: usize| {
        let record = redcall_common::digest::of_call("pay", "order 7", None);
        let mut conn = connection(&bench).await;
        (conn.hlen::<_, usize>(keys().idem(&record)).await.unwrap() == count).then_some(())
    };
    eventually("the second to have joined", async || fields(5).await).await;
    crashed.abort();
    eventually("the first to have gone", async || fields(4).await).await;
    runs.1.add_permits(1);
    assert_eq!(again.await.unwrap().unwrap().json::<usize>().unwrap(), 1);
    assert_eq!(runs.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn call_is_cancelled_when_its_last_caller_withdraws() {
    let bench = Bench::new().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let client = bench.client().await;
    let call = |client: &Client| {
        let call = payment(client, Some(60_000)).timeout(Duration::from_secs(60));
        tokio::spawn(call.wait())
    };
    let waits = [call(&client), call(&client)];
    running(&runs).await;
    let mut conn = connection(&bench).await;
    waits[0].abort();
    // The other one still waits: nothing has ended when the next call has been answered.
    client.call_and_wait("echo", &1).await.unwrap();
    assert_eq!(conn.hlen::<_, usize>(keys().live()).await.unwrap(), 1);
    waits[1].abort();
    eventually("it to end", async || {
        (conn.hlen::<_, usize>(keys().live()).await.unwrap() == 0).then_some(())
    })
    .await;
    // A cancelled call may start over.
    let answer = client.request("pay").data(&Some(60_000)).idempotency_key("order 7");
    let again = tokio::spawn(answer.wait());
    eventually("it to run again", async || (runs.0.load(Ordering::SeqCst) == 2).then_some(()))
        .await;
    again.abort();
}

#[tokio::test]
async fn other_data_under_the_same_key_is_a_conflict() {
    let bench = Bench::new().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let client = bench.client().await;
    payment(&client, Some(0)).wait().await.unwrap();
    let error = payment(&client, Some(1)).wait().await.unwrap_err();
    assert_eq!((error.code(), error.may_be_queued()), (Code::Conflict, false));
}

#[tokio::test]
async fn kept_error_is_repeated_without_a_run() {
    let bench = Bench::new().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let client = bench.client().await;
    for _ in 0..3 {
        let error = payment(&client, None).wait().await.unwrap_err();
        assert_eq!(error.code(), Code::HandlerFailed);
    }
    assert_eq!(runs.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_longest_time_of_all_callers_counts() {
    let bench = Bench::new().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let client = bench.client().await;
    // Time enough to start, and to be joined, on a machine that stops processes for a moment.
    let short = payment(&client, HELD).timeout(Duration::from_secs(2));
    let short = tokio::spawn(short.wait());
    running(&runs).await;
    let long = payment(&client, HELD).timeout(Duration::from_secs(20)).submit().await.unwrap();
    assert_eq!(short.await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    runs.1.add_permits(1);
    assert_eq!(long.wait().await.unwrap().json::<usize>().unwrap(), 1);
}

#[tokio::test]
async fn longest_timeout_counts_for_a_queued_call() {
    let bench = Bench::new().await;
    let runs = Runs::default();
    let client = bench.client().await;
    let short = payment(&client, Some(0)).timeout(Duration::from_secs(1));
    short.submit().await.unwrap();
    let long = payment(&client, Some(0)).timeout(Duration::from_secs(20)).submit().await.unwrap();
    // The time of the first is over.
    super::works(Duration::from_millis(1010)).await;
    let _worker = worker(&bench, &runs).await;
    assert_eq!(long.wait().await.unwrap().json::<usize>().unwrap(), 1);
}

#[tokio::test]
async fn unmapped_call_is_answered_to_all_and_may_start_over() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let submit = async || payment(&client, Some(0)).submit().await.unwrap();
    let tickets = [submit().await, submit().await];
    let other = bench.worker().await;
    for ticket in tickets {
        assert_eq!(ticket.wait().await.unwrap_err().code(), Code::UnknownJob);
    }
    drop(other);
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let answer = payment(&client, Some(0)).wait().await.unwrap();
    assert_eq!(answer.json::<usize>().unwrap(), 1);
}

#[tokio::test]
async fn a_call_that_cannot_be_read_leaves_no_record_behind() {
    let mut bench = Bench::new().await;
    bench.settings.limits.depth = 3;
    let client = bench.client().await;
    let deep = client.request("pay").data(&json!([[[1]]])).idempotency_key("order 7");
    let deep = deep.submit().await.unwrap();
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    assert_eq!(deep.wait().await.unwrap_err().code(), Code::InvalidRequest);
    let answer = payment(&client, Some(0)).wait().await.unwrap();
    assert_eq!(answer.json::<usize>().unwrap(), 1);
}

async fn push(conn: &mut MultiplexedConnection, id: &str, data: &str) {
    let raw = waited(id, "pay", data, r#","idempotency_key":"order 7""#);
    let () = conn.rpush(keys().queue(), raw).await.unwrap();
}

async fn end(conn: &mut MultiplexedConnection, id: &str) -> serde_json::Value {
    let (_, frame): (String, String) = conn.blpop(keys().response(id), 10.0).await.unwrap();
    serde_json::from_str(&frame).unwrap()
}

#[tokio::test]
async fn plainly_pushed_duplicate_is_checked_before_its_start() {
    let bench = Bench::new().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let mut conn = connection(&bench).await;
    push(&mut conn, "a", "200").await;
    running(&runs).await;
    push(&mut conn, "b", "200").await;
    push(&mut conn, "c", "999").await;
    let conflict = end(&mut conn, "c").await;
    assert_eq!(conflict["error"]["code"], "conflict");
    for id in ["a", "b"] {
        let frame = end(&mut conn, id).await;
        assert_eq!((&frame["id"], &frame["data"]), (&json!(id), &json!(1)), "{frame}");
        assert_eq!(frame["response_key"], keys().response(id));
    }
    push(&mut conn, "d", "200").await;
    assert_eq!(end(&mut conn, "d").await["data"], 1);
    assert_eq!(runs.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn call_of_a_dead_worker_continues_for_all_callers() {
    let bench = Bench::new().await;
    let runs = Runs::default();
    let client = bench.client().await;
    let tickets = [
        payment(&client, Some(0)).submit().await.unwrap(),
        payment(&client, Some(0)).submit().await.unwrap(),
    ];
    assert_eq!(dies(&bench, "ghost", 5).await, 1, "the second has joined the first");
    let _worker = worker(&bench, &runs).await;
    for ticket in tickets {
        assert_eq!(ticket.wait().await.unwrap().json::<usize>().unwrap(), 1);
    }
}

#[tokio::test]
async fn the_same_job_is_not_run_twice_within_its_window() {
    let mut bench = Bench::new().await;
    job(&mut bench, "pay").unique = Some(Duration::from_secs(60));
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let client = bench.client().await;
    for _ in 0..5 {
        client.call("pay", &Some(0)).await.unwrap();
    }
    client.call("pay", &Some(1)).await.unwrap();
    // A waiting caller wants an answer, despite earlier runs.
    client.call_and_wait("pay", &Some(0)).await.unwrap();
    let mut conn = connection(&bench).await;
    super::nothing_is_left(&mut conn).await;
    assert_eq!(runs.0.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn request_pushed_twice_under_one_id_runs_once() {
    let bench = Bench::new().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let mut conn = connection(&bench).await;
    for _ in 0..2 {
        // A client that does not know whether its push arrived makes it again.
        push(&mut conn, "a", "0").await;
        assert_eq!(end(&mut conn, "a").await["data"], 1);
        super::nothing_is_left(&mut conn).await;
    }
    assert_eq!(runs.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_longest_budget_that_can_be_written_is_one() {
    let bench = Bench::new().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let mut conn = connection(&bench).await;
    let rest = format!(r#","idempotency_key":"order 7","budget_ms":{}"#, u64::MAX);
    let () = conn.rpush(keys().queue(), waited("a", "pay", "0", &rest)).await.unwrap();
    assert_eq!(end(&mut conn, "a").await["data"], 1);
}

#[tokio::test]
async fn duplicate_within_a_unique_window_cannot_be_joined() {
    let mut bench = Bench::new().await;
    job(&mut bench, "pay").unique = Some(Duration::from_secs(60));
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let client = bench.client().await;
    for key in ["one", "two"] {
        client.request("pay").data(&Some(0)).idempotency_key(key).send().await.unwrap();
        // Leased after it, so that neither of the two is in flight at the check.
        client.call_and_wait("echo", &1).await.unwrap();
        super::nothing_is_left(&mut connection(&bench).await).await;
    }
    assert_eq!(runs.0.load(Ordering::SeqCst), 1);
    let joins = client.request("pay").data(&Some(0)).idempotency_key("two");
    let answer = joins.timeout(Duration::from_secs(5)).wait().await.unwrap();
    assert_eq!(answer.json::<usize>().unwrap(), 2);
}

#[tokio::test]
async fn joined_caller_learns_of_the_cancel_despite_a_restart() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let submit = async || payment(&client, Some(0)).submit().await.unwrap();
    let cancelled = [submit().await, submit().await];
    client.cancel_in("default", &cancelled[0].id).await.unwrap();
    let again = submit().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    assert_eq!(again.wait().await.unwrap().json::<usize>().unwrap(), 1);
    for ticket in cancelled {
        let limit = Duration::from_secs(5);
        let error = client.fetch_timeout(&ticket.response_key, limit).await.unwrap_err();
        assert_eq!(error.code(), Code::Cancelled);
    }
    assert_eq!(runs.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn lost_extension_message_is_recovered_at_the_deadline() {
    let bench = Bench::new().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let client = bench.client().await;
    let short = payment(&client, HELD).timeout(Duration::from_secs(2));
    let short = tokio::spawn(short.wait());
    running(&runs).await;
    // Another caller has joined it for longer, and its worker was not notified.
    let mut conn = connection(&bench).await;
    let record = keys().idem(&redcall_common::digest::of_call("pay", "order 7", None));
    let longer = [("keep", "1"), ("deadline", "9000000000000")];
    let () = conn.hset_multiple(&record, &longer).await.unwrap();
    assert_eq!(short.await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    runs.1.add_permits(1);
    let tail: String = eventually("its end to be kept", async || {
        conn.hget::<_, _, Option<String>>(&record, "tail").await.unwrap()
    })
    .await;
    assert!(tail.contains(r#""data":1"#), "{tail}");
}

#[tokio::test]
async fn no_time_is_too_long_to_be_joined_for() {
    async fn left(request: Request, joined: State<Arc<tokio::sync::Notify>>) -> Json<u64> {
        joined.notify_one();
        loop {
            let left = request.remaining().map_or(0, |left| left.as_secs());
            if left > 100 {
                return Json(left);
            }
            super::works(Duration::from_millis(5)).await;
        }
    }
    let bench = Bench::new().await;
    let joined = Arc::new(tokio::sync::Notify::new());
    let state = joined.clone();
    let _worker = bench.worker_with(|worker| worker.state(state).handler("left", left)).await;
    let client = bench.client().await;
    let call = |hours: u64| {
        let call = client.request("left").idempotency_key("one");
        call.timeout(Duration::from_secs(hours * 3600 + 50)).submit()
    };
    let first = call(0).await.unwrap();
    joined.notified().await;
    call(48).await.unwrap();
    let left = first.wait().await.unwrap().json::<u64>().unwrap();
    assert!(left > 47 * 3600, "{left} s");
}
