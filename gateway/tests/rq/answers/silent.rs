//! Calls without an answer: they leave room while Redcall does not accept them, and each is counted
//! and logged once.

use std::net::SocketAddr;

use redcall_testkit::eventually;
use redcall_testkit::redis::AsyncCommands as _;
use serde_json::json;

use crate::rq_redis::{DOOR, Gate, RqRedis, call, uuid};
use crate::support::{Stage, metrics};

const LATER: &str = "redcall-gateway:rq:python-rpc:later";

/// Returns the lines of the calls that ended.
async fn ended(address: SocketAddr) -> Vec<String> {
    let text = metrics(address).await;
    let lines = text.lines().filter(|line| line.starts_with("redcall_gateway_requests_total{"));
    lines.map(str::to_owned).collect()
}

fn count(outcome: &str, number: usize) -> String {
    let labels = format!("gateway=\"python-rpc\",outcome=\"{outcome}\"");
    format!("redcall_gateway_requests_total{{{labels}}} {number}")
}

/// More calls than there is room for go to a full queue; a call that waits, for another queue,
/// comes after them.
#[tokio::test]
async fn calls_that_redcall_does_not_accept_leave_room_for_others() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let client = stage.client().await;
    client.request("gate").queue("held").send().await.unwrap();
    let text = format!(
        "{DOOR}concurrency = 2\nqueue = \"held\"\n[queues.held]\nmax_length = 1\n\
         [jobs.add]\nqueue = \"default\"\nhandler = \"builtin:add\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n"
    );
    let gateway = stage.gateway(&text).await;
    let mut rq = RqRedis::of(&stage).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let id = uuid();
        rq.enqueue("high", &id, &call("gate", &number.to_string(), None)).await;
        ids.push(id);
    }
    for _ in 0..3 {
        let key = rq.call("low", "add", "{\"a\": 1, \"b\": 1}").await;
        assert_eq!(rq.answer(&key).await, json!({"answer": 2}));
    }
    // All of them, and none has an end.
    eventually("the calls to wait", async || {
        let length: usize = rq.0.clone().llen(LATER).await.unwrap();
        (length == ids.len()).then_some(())
    })
    .await;
    assert_eq!(ended(gateway.probes()).await, [count("ok", 3)]);
    for id in &ids {
        assert_eq!(rq.status(id).await.as_deref(), Some("queued"));
    }

    // A worker of that queue: each runs once.
    let settings = stage.settings("[worker]\nqueues = [\"held\"]\n");
    let (_worker, gate) = stage.worker_with(settings, Gate::add).await;
    gate.ends.add_permits(100);
    for id in &ids {
        rq.ends(id, "finished").await;
    }
    rq.inboxes_are_empty().await;
    assert_eq!(rq.ttl(LATER).await, -2);
    eventually("all to run", async || (gate.runs() == ids.len() + 1).then_some(())).await;
    assert_eq!(ended(gateway.probes()).await, [count("ok", 3 + ids.len())]);
    gateway.end().await.unwrap();
    assert_eq!(gate.runs(), ids.len() + 1);
}

#[tokio::test]
async fn calls_that_redcall_does_not_accept_are_sent_by_the_next_gateway() {
    let stage = Stage::new().await;
    let client = stage.client().await;
    client.request("gate").queue("held").send().await.unwrap();
    let full = "queue = \"held\"\n[queues.held]\nmax_length = 1\n";
    let first = stage.gateway(&format!("{DOOR}{full}")).await;
    let mut rq = RqRedis::of(&stage).await;
    let id = uuid();
    rq.enqueue("low", &id, &call("gate", "0", None)).await;
    eventually("the call to wait", async || (rq.ttl(LATER).await == -1).then_some(())).await;
    first.end().await.unwrap();
    let _second = stage.gateway(&format!("{DOOR}queue = \"held\"\n")).await;
    rq.ends(&id, "finished").await;
    assert_eq!(rq.ttl(LATER).await, -2);
}

#[tokio::test]
async fn rejected_calls_without_an_answer_are_counted_and_logged_with_a_short_name() {
    let stage = Stage::new().await;
    let mut rq = RqRedis::of(&stage).await;
    let text = format!("{DOOR}jobs = [\"add\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n");
    let gateway = stage.gateway(&text).await;
    for name in ["echo", "not a name"] {
        let id = uuid();
        rq.enqueue("default", &id, &call(name, "{}", None)).await;
        rq.ends(&id, "failed").await;
    }
    assert_eq!(ended(gateway.probes()).await, [count("unknown_job", 2)]);
    gateway.end().await.unwrap();

    let program = stage.program(&format!("{DOOR}jobs = [\"add\"]\n"));
    let name = format!("not a\nname {}", "x".repeat(10_000));
    rq.enqueue("default", &uuid(), &call(&name, "{}", None)).await;
    let logged = |line: &serde_json::Value| {
        let is_it = line["message"] == "call failed" && line["code"] == "unknown_job";
        is_it.then(|| line["job"].as_str().map(str::to_owned))?
    };
    let job = program.logged("the call in the log", logged).await;
    assert!(job.starts_with("not a\\nname xxx") && job.len() < 100, "{job}");
}
