//! Jobs without a mapping, and queues without workers.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use redcall_client::Code;
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redcall_worker::{Json, State, Worker};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{AT_ONCE, Foreign, LIVE, QUEUE, WAYS, error_frame, keys, waited};

#[tokio::test]
async fn unmapped_name_is_answered_at_once() {
    let mut foreign = Foreign::start().await;
    let since = Instant::now();
    let error = foreign.client.call_and_wait("absent", &Value::Null).await.unwrap_err();
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
    assert_eq!(error.code(), Code::UnknownJob);
    assert_eq!(error.to_string(), "unknown_job: no live worker handles the job `absent`");
    let frame = error_frame("x1", Code::UnknownJob, "no live worker handles the job `absent`", "");
    foreign.is_answered(waited("x1", "absent", "null", ""), "x1", &frame).await;
}

#[tokio::test]
async fn unmapped_name_without_caller_is_dead_lettered() {
    let mut foreign = Foreign::start().await;
    let receipt = foreign.client.call("absent", &json!({"a": 1})).await.unwrap();
    let letter = foreign.dead_letter().await;
    assert_eq!((letter.id, &*letter.code), (receipt.id.clone(), "unknown_job"));
    assert_eq!(letter.reason, "no live worker handles `absent`");
    let envelope: Value = serde_json::from_slice(&letter.request).unwrap();
    assert_eq!((&envelope["id"], &envelope["data"]), (&json!(receipt.id), &json!({"a": 1})));
    for way in WAYS {
        let raw = r#"{"id":"x1","name":"absent","data":[]}"#;
        foreign.push(way, raw).await;
        let letter = foreign.dead_letter().await;
        assert_eq!((&*letter.id, &*letter.code), ("x1", "unknown_job"));
        assert_eq!(letter.request, raw.as_bytes());
        foreign.goes_on().await;
    }
}

#[tokio::test]
async fn name_mapped_by_another_live_worker_is_parked_and_runs() {
    async fn special(gate: State<Arc<Semaphore>>, Json(n): Json<u64>) -> Json<u64> {
        gate.acquire().await.unwrap().forget();
        Json(n + 1)
    }
    let gate = Arc::new(Semaphore::new(0));
    let mut bench = Bench::new().await;
    bench.settings.worker.queues = vec!["default".to_owned()];
    bench.settings.worker.concurrency = 1;
    let shared = gate.clone();
    let build = |worker: Worker| worker.state(shared).handler("special", special);
    let _knows_it = bench.worker_with(build).await;
    let mut conn = bench.redis.connection().await;
    let client = bench.client().await;
    // The worker that maps it has its only slot taken: the next request meets the other one.
    let first = client.request("special").data(&1).submit().await.unwrap();
    eventually("the first job to be leased", async || {
        conn.exists::<_, bool>(LIVE).await.unwrap().then_some(())
    })
    .await;
    let _does_not = bench.worker().await;
    let second = client.request("special").data(&2).submit().await.unwrap();
    let third = client.request("special").data(&3).submit().await.unwrap();
    let parked = "redcall:{default}:parked:special";
    eventually("both to be parked", async || {
        (conn.llen::<_, usize>(parked).await.unwrap() == 2).then_some(())
    })
    .await;
    let names: Vec<String> = conn.smembers("redcall:{default}:parked").await.unwrap();
    assert_eq!(names, ["special"]);
    let queues = client.inspect().queues().await.unwrap();
    assert_eq!(queues.iter().map(|queue| queue.parked).collect::<Vec<_>>(), [1]);
    gate.add_permits(3);
    for (ticket, answer) in [(first, "2"), (second, "3"), (third, "4")] {
        assert_eq!(ticket.wait().await.unwrap().data.get(), answer);
    }
    let answer = client.call_and_wait("add", &json!({"a": 1, "b": 1})).await.unwrap();
    assert_eq!(answer.data.get(), r#"{"answer":2}"#);
    eventually("nothing to be parked any more", async || {
        let keys = keys(&mut conn).await;
        (!keys.iter().any(|key| key.contains("parked"))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn parked_request_is_answered_after_its_last_worker_left() {
    let mut bench = Bench::new().await;
    bench.settings.worker.queues = vec!["default".to_owned()];
    let _worker = bench.worker().await;
    let mut conn = bench.redis.connection().await;
    let key = "redcall:{default}:parked:special";
    let () = conn.rpush(key, waited("x1", "special", "1", "")).await.unwrap();
    let () = conn.sadd("redcall:{default}:parked", "special").await.unwrap();
    let frame = eventually("the answer", async || {
        conn.lpop::<_, Option<String>>("redcall:{default}:response:x1", None).await.unwrap()
    })
    .await;
    let message = "no live worker handles the job `special`";
    assert_eq!(frame, error_frame("x1", Code::UnknownJob, message, ""));
    let keys = keys(&mut conn).await;
    assert!(!keys.iter().any(|key| key.contains("parked")), "{keys:?}");
}

#[tokio::test]
async fn waited_call_without_workers_ends_unqueued_after_its_grace() {
    let mut bench = Bench::new().await;
    let grace = Duration::from_millis(200);
    bench.settings.client.no_workers_grace = grace;
    let client = bench.client().await;
    let since = Instant::now();
    let error = client.call_and_wait("add", &json!({"a": 1, "b": 1})).await.unwrap_err();
    let took = since.elapsed();
    assert!(grace <= took && took < grace + AT_ONCE, "{took:?}");
    assert_eq!(error.code(), Code::NoWorkers);
    assert!(!error.may_be_queued());
    let message = "no worker serves queue `default`; start one, or correct the name";
    assert_eq!(error.to_string(), format!("no_workers: {message} (not queued)"));
    let mut conn = bench.redis.connection().await;
    assert_eq!(conn.llen::<_, usize>(QUEUE).await.unwrap(), 0);
    // Nor later: the client does not try again.
    let _worker = bench.worker().await;
    assert_eq!(keys(&mut conn).await.iter().filter(|key| key.contains("response")).count(), 0);
}

#[tokio::test]
async fn the_grace_may_be_none_and_each_queue_has_its_own_workers() {
    let mut bench = Bench::new().await;
    bench.settings.client.no_workers_grace = Duration::ZERO;
    bench.settings.worker.queues = vec!["default".to_owned()];
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let error = client.request("add").queue("elsewhere").wait().await.unwrap_err();
    assert_eq!(error.code(), Code::NoWorkers);
    assert!(error.to_string().contains("`elsewhere`"), "{error}");
    let answer = client.call_and_wait("add", &json!({"a": 1, "b": 1})).await.unwrap();
    assert_eq!(answer.data.get(), r#"{"answer":2}"#);
}

#[tokio::test]
async fn request_that_requires_a_worker_is_refused_at_once_without_one() {
    let mut bench = Bench::new().await;
    bench.settings.worker.queues = vec!["default".to_owned()];
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let add = |queue: &str| {
        let request = client.request("add").data(&json!({"a": 1, "b": 1})).queue(queue);
        request.require_worker()
    };
    let since = Instant::now();
    let mut stream = add("elsewhere").stream().await.unwrap();
    let refused = [
        add("elsewhere").send().await.unwrap_err(),
        add("elsewhere").submit().await.err().unwrap(),
        add("elsewhere").wait().await.unwrap_err(),
        stream.next().await.unwrap().unwrap_err(),
        client.call_many([add("elsewhere")]).await.remove(0).unwrap_err(),
    ];
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
    for error in refused {
        assert_eq!((error.code(), error.may_be_queued()), (Code::NoWorkers, false), "{error}");
    }
    let mut conn = bench.redis.connection().await;
    assert_eq!(conn.llen::<_, usize>("redcall:{elsewhere}:queue").await.unwrap(), 0);

    add("default").send().await.unwrap();
    let answer = add("default").submit().await.unwrap().wait().await.unwrap();
    assert_eq!(answer.data.get(), r#"{"answer":2}"#);
    assert_eq!(add("default").wait().await.unwrap().data.get(), r#"{"answer":2}"#);
}

#[tokio::test]
async fn request_that_is_not_sent_cannot_be_detached() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let error = eventually("the request to wait for a worker", async || {
        client.request("add").stream().await.unwrap().detach().err()
    })
    .await;
    assert!(!error.may_be_queued(), "{error}");
    client.flush().await;
    let mut conn = bench.redis.connection().await;
    assert_eq!(conn.llen::<_, usize>(QUEUE).await.unwrap(), 0);
}

#[tokio::test]
async fn fire_and_forget_without_workers_is_queued_and_runs_later() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let mut conn = bench.redis.connection().await;
    client.call("add", &json!({"a": 1, "b": 1})).await.unwrap();
    let ticket = client.request("add").data(&json!({"a": 2, "b": 2})).submit().await.unwrap();
    assert_eq!(conn.llen::<_, usize>(QUEUE).await.unwrap(), 2);
    let _worker = bench.worker().await;
    assert_eq!(ticket.wait().await.unwrap().data.get(), r#"{"answer":4}"#);
    assert_eq!(conn.llen::<_, usize>(QUEUE).await.unwrap(), 0);
}

#[tokio::test]
async fn a_worker_that_starts_within_the_grace_answers_the_call() {
    let mut bench = Bench::new().await;
    bench.settings.client.no_workers_grace = Duration::from_secs(15);
    let client = bench.client().await;
    let mut conn = bench.redis.connection().await;
    let call = tokio::spawn(async move {
        client.call_and_wait("add", &json!({"a": 1, "b": 1})).await.map(|answer| answer.data)
    });
    eventually("the client to have checked for workers", async || {
        conn.exists::<_, bool>("redcall:queues").await.unwrap().then_some(())
    })
    .await;
    assert_eq!(conn.llen::<_, usize>(QUEUE).await.unwrap(), 0);
    let _worker = bench.worker().await;
    assert_eq!(call.await.unwrap().unwrap().get(), r#"{"answer":2}"#);
}
