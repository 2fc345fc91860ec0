//! The ends of calls: answers, errors, statuses, TTLs.

mod codes;
mod silent;

use std::time::{Duration, Instant};

use redcall_testkit::redis::AsyncCommands as _;
use serde_json::json;

use crate::rq_redis::{DOOR, RqRedis, call, gated, uuid};
use crate::support::Stage;

#[tokio::test]
async fn call_and_wait_gets_one_answer_with_a_ttl() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let _gateway = stage.gateway(DOOR).await;
    let mut rq = RqRedis::of(&stage).await;
    let (id, key) = (uuid(), uuid());
    rq.enqueue("default", &id, &call("add", "{\"a\": 1, \"b\": 1}", Some(&key))).await;
    rq.ends(&id, "finished").await;
    // The caller is gone: the answer stays for its TTL.
    let ttl = rq.ttl(&key).await;
    assert!((500..=600).contains(&ttl), "{ttl}");
    let length: usize = rq.0.llen(&key).await.unwrap();
    assert_eq!(length, 1);
    assert_eq!(rq.answer(&key).await, json!({"answer": 2}));
}

#[tokio::test]
async fn errors_are_answered_with_code_and_message() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let jobs = "jobs = [\"add\", \"fail\", \"missing\"]\n";
    let _gateway = stage.gateway(&format!("{DOOR}{jobs}")).await;
    let mut rq = RqRedis::of(&stage).await;
    for (name, code) in [
        ("fail", "handler_failed"),
        ("missing", "unknown_job"),
        ("echo", "unknown_job"),
        ("not a name", "unknown_job"),
    ] {
        let (id, key) = (uuid(), uuid());
        rq.enqueue("default", &id, &call(name, "{}", Some(&key))).await;
        let data = rq.answer(&key).await;
        assert_eq!(data["error"]["code"], code, "{name}: {data}");
        assert!(data["error"]["message"].is_string(), "{name}: {data}");
        assert_eq!(rq.status(&id).await.as_deref(), Some("failed"));
        assert!(rq.ttl(&format!("rq:job:{id}")).await > 0);
    }
}

#[tokio::test]
async fn silent_door_answers_no_error() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let text = format!("{DOOR}errors = \"silent\"\nresult_ttl = \"100s\"\n");
    let _gateway = stage.gateway(&text).await;
    let mut rq = RqRedis::of(&stage).await;
    let (id, key) = (uuid(), uuid());
    rq.enqueue("default", &id, &call("fail", "{}", Some(&key))).await;
    rq.ends(&id, "failed").await;
    assert_eq!(rq.ttl(&key).await, -2);
    let ttl = rq.ttl(&format!("rq:job:{id}")).await;
    assert!((50..=100).contains(&ttl), "{ttl}");
    let key = rq.call("default", "add", "{\"a\": 1, \"b\": 1}").await;
    assert_eq!(rq.answer(&key).await, json!({"answer": 2}));
}

#[tokio::test]
async fn call_without_workers_ends_with_no_workers() {
    let stage = Stage::new().await;
    let grace = "[client]\nno_workers_grace = \"10ms\"\n";
    let _gateway = stage.gateway(&format!("{DOOR}{grace}")).await;
    let mut rq = RqRedis::of(&stage).await;
    let key = rq.call("default", "add", "{}").await;
    assert_eq!(rq.answer(&key).await["error"]["code"], "no_workers");
}

#[tokio::test]
async fn slow_job_is_answered_within_the_timeout_of_the_door() {
    let stage = Stage::new().await;
    let (_worker, gate) = gated(&stage).await;
    let _gateway = stage.gateway(&DOOR.replace("20s", "1s")).await;
    let mut rq = RqRedis::of(&stage).await;
    let began = Instant::now();
    let key = rq.call("default", "gate", "{}").await;
    let data = rq.answer(&key).await;
    let took = began.elapsed();
    assert_eq!(data["error"]["code"], "deadline_exceeded", "{data}");
    assert!(took >= Duration::from_millis(900), "{took:?}");
    // The timeout and a second, and three more for a machine that runs many tests at once.
    assert!(took < Duration::from_secs(5), "{took:?}");
    gate.end_one();
}

#[tokio::test]
async fn response_key_of_another_type_is_not_touched() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let _gateway = stage.gateway(DOOR).await;
    let mut rq = RqRedis::of(&stage).await;
    let (id, key) = (uuid(), uuid());
    let () = rq.0.set(&key, "of another program").await.unwrap();
    rq.enqueue("default", &id, &call("add", "{\"a\": 1, \"b\": 1}", Some(&key))).await;
    rq.ends(&id, "failed").await;
    let value: String = rq.0.get(&key).await.unwrap();
    assert_eq!((value.as_str(), rq.ttl(&key).await), ("of another program", -1));
    rq.inboxes_are_empty().await;
}

#[tokio::test]
async fn handler_sees_the_door_and_the_job_of_rq() {
    let stage = Stage::new().await;
    let headers = |request: redcall_worker::Request| async move {
        redcall_worker::Json(request.headers().clone())
    };
    let _worker = stage.worker(|worker| worker.handler("py.headers", headers)).await;
    let _gateway = stage.gateway(&format!("{DOOR}prefix = \"py.\"\n")).await;
    let mut rq = RqRedis::of(&stage).await;
    let (id, key) = (uuid(), uuid());
    rq.enqueue("low", &id, &call("headers", "{}", Some(&key))).await;
    let data = rq.answer(&key).await;
    assert_eq!(data["gateway"], "python-rpc", "{data}");
    assert_eq!(data["rq_job"], id.as_str(), "{data}");
    assert!(data["peer"].as_str().is_some_and(|peer| !peer.is_empty()), "{data}");
}

#[tokio::test]
async fn call_that_is_taken_over_has_the_rest_of_its_time() {
    let stage = Stage::new().await;
    let (_worker, gate) = gated(&stage).await;
    let mut rq = RqRedis::of(&stage).await;
    let (id, key) = (uuid(), uuid());
    rq.enqueue("default", &id, &call("gate", "{}", Some(&key))).await;
    // Another gateway took it before: of 20 s, one is left.
    let (now, _): (u64, u64) =
        redcall_testkit::redis::cmd("TIME").query_async(&mut rq.0).await.unwrap();
    let taken = (now - 19) * 1000;
    let () = rq.0.hset(format!("rq:job:{id}"), "redcall_taken_at", taken).await.unwrap();
    let began = Instant::now();
    let _gateway = stage.gateway(DOOR).await;
    assert_eq!(rq.answer(&key).await["error"]["code"], "deadline_exceeded");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    gate.end_one();
}
