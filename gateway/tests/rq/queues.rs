//! Taking jobs: urgency, room, many at once, keys of other types.

use futures_util::future::join_all;
use redcall_testkit::eventually;
use redcall_testkit::redis::AsyncCommands as _;
use serde_json::json;

use crate::rq_redis::{DOOR, Gate, RqRedis, call, gated, uuid};
use crate::support::Stage;

/// Callers that wait at once.
const CALLERS: usize = 1000;

#[tokio::test]
async fn urgent_queues_come_first_and_only_as_many_as_there_is_room_for() {
    let stage = Stage::new().await;
    let (_worker, mut gate) = gated(&stage).await;
    let _gateway = stage.gateway(&format!("{DOOR}concurrency = 1\n")).await;
    let mut rq = RqRedis::of(&stage).await;
    let mut keys = vec![rq.call("low", "gate", "0").await];
    assert_eq!(gate.started.recv().await.as_deref(), Some("0"));
    for (queue, data) in
        [("low", "5"), ("default", "3"), ("high", "1"), ("high", "2"), ("default", "4")]
    {
        keys.push(rq.call(queue, "gate", data).await);
    }
    for wanted in ["1", "2", "3", "4", "5"] {
        // While one runs, the others wait in rq's queues.
        let queued = async || {
            let mut length = 0;
            for queue in ["high", "default", "low"] {
                let one: usize = rq.0.clone().llen(format!("rq:queue:{queue}")).await.unwrap();
                length += one;
            }
            length
        };
        assert_eq!(queued().await, 6 - wanted.parse::<usize>().unwrap());
        gate.end_one();
        assert_eq!(gate.started.recv().await.as_deref(), Some(wanted));
    }
    gate.end_one();
    for key in keys {
        assert!(rq.answer(&key).await.is_number());
    }
}

#[tokio::test]
async fn many_jobs_run_at_once_and_all_are_answered() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let _gateway = stage.gateway(DOOR).await;
    let mut rq = RqRedis::of(&stage).await;
    let mut keys = Vec::new();
    for number in 0..300 {
        let data = format!("{{\"a\": {number}, \"b\": 0}}");
        keys.push((number, rq.call(["high", "low", "default"][number % 3], "add", &data).await));
    }
    for (number, key) in keys {
        assert_eq!(rq.answer(&key).await, json!({"answer": number}));
    }
    rq.inboxes_are_empty().await;
}

#[tokio::test]
async fn queue_of_another_type_does_not_stop_the_others() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let mut rq = RqRedis::of(&stage).await;
    let () = rq.0.set("rq:queue:high", "not a list").await.unwrap();
    let _gateway = stage.gateway(DOOR).await;
    for _ in 0..3 {
        let key = rq.call("low", "add", "{\"a\": 1, \"b\": 1}").await;
        assert_eq!(rq.answer(&key).await, json!({"answer": 2}));
    }
    // It is used again once it is a list.
    let () = rq.0.del("rq:queue:high").await.unwrap();
    let key = rq.call("high", "add", "{\"a\": 2, \"b\": 2}").await;
    assert_eq!(rq.answer(&key).await, json!({"answer": 4}));
}

#[tokio::test]
async fn jobs_of_other_types_are_refused_and_others_go_on() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let mut rq = RqRedis::of(&stage).await;
    let good = call("add", "{\"a\": 1, \"b\": 1}", None);
    let () = rq.0.rpush("rq:job:a-list", "x").await.unwrap();
    let () = rq.0.set("rq:job:a-text", &good).await.unwrap();
    let () = rq.0.hset("rq:job:no-data", "status", "queued").await.unwrap();
    rq.enqueue("default", "empty-data", b"").await;
    rq.enqueue("default", "too-large", &vec![b'x'; 4096]).await;
    rq.enqueue("default", "new\nline", &good).await;
    let long = "x".repeat(10_000);
    for id in ["a-list", "a-text", "no-data", "absent", "", &long] {
        let () = rq.0.rpush("rq:queue:default", id).await.unwrap();
    }
    let () = rq.0.rpush("rq:queue:default", b"\xff\xfe").await.unwrap();
    let _gateway = stage.gateway(&format!("{DOOR}message = \"2KiB\"\n")).await;
    let key = rq.call("low", "add", "{\"a\": 1, \"b\": 1}").await;
    assert_eq!(rq.answer(&key).await, json!({"answer": 2}));
    for id in ["no-data", "empty-data", "too-large", "new\nline"] {
        rq.ends(id, "failed").await;
        assert!(rq.ttl(&format!("rq:job:{id}")).await > 0, "{id}");
    }
    rq.inboxes_are_empty().await;
    // Keys that are not jobs are left alone, and none is made.
    assert_eq!(rq.ttl("rq:job:a-list").await, -1);
    assert_eq!(rq.ttl("rq:job:a-text").await, -1);
    assert_eq!(rq.ttl("rq:job:absent").await, -2);
    let left: usize = rq.0.llen("rq:queue:default").await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn drained_gateway_leaves_nothing_behind() {
    let stage = Stage::new().await;
    let (_worker, mut gate) = gated(&stage).await;
    let gateway = stage.gateway(DOOR).await;
    let mut rq = RqRedis::of(&stage).await;
    let key = rq.call("default", "gate", "{}").await;
    gate.started.recv().await.unwrap();
    gateway.drain();
    let (id, later) = (uuid(), call("gate", "{}", None));
    rq.enqueue("default", &id, &later).await;
    gate.end_one();
    assert_eq!(rq.answer(&key).await, json!({}));
    gateway.end().await.unwrap();
    // Jobs that came later wait for the next gateway.
    assert_eq!(rq.status(&id).await.as_deref(), Some("queued"));
    let keys = eventually("its keys to be gone", async || {
        rq.keys("redcall-gateway:").await.is_empty().then_some(())
    });
    keys.await;
}

#[tokio::test]
async fn thousand_waiting_jobs_get_their_answers() {
    let stage = Stage::new().await;
    let mut settings = stage.settings("");
    settings.worker.concurrency = CALLERS;
    let (_worker, mut gate) = stage.worker_with(settings, Gate::add).await;
    let door = "[gateways.python-rpc]\nprotocol = \"rq\"\ntake = [\"default\"]\n\
                concurrency = 1000\ntimeout = \"60s\"\n";
    let _gateway = stage.gateway(door).await;
    let rq = RqRedis::of(&stage).await;
    let calls = (0..CALLERS).map(async |number| {
        let mut rq = RqRedis(rq.0.clone());
        rq.call("default", "gate", &number.to_string()).await
    });
    let keys = join_all(calls).await;
    // All run, and none has ended: all callers wait.
    for _ in 0..CALLERS {
        gate.started.recv().await.unwrap();
    }
    gate.ends.add_permits(CALLERS);
    let mut rq = rq;
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(rq.answer(key).await, number);
    }
    rq.inboxes_are_empty().await;
}
