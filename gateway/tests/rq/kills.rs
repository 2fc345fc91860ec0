//! Gateways, workers and rq's Redis that end in the middle of a call: one run, one answer.

use std::time::{Duration, Instant};

use redcall_gateway::{Gateway, Stop};
use redcall_testkit::redis::AsyncCommands as _;
use redcall_testkit::{FaultProxy, RestartableRedis, TestRedis, eventually};
use redcall_worker::Worker;
use rustix::process::Signal;
use serde_json::json;

use crate::rq_redis::{DOOR, Gate, RqRedis, call, gated, uuid};
use crate::support::{Program, RunningGateway, RunningWorker, Stage};

const INBOXES: &str = "redcall-gateway:rq:python-rpc:inbox:";

/// A gateway whose call runs.
struct Called {
    first: Program,
    rq: RqRedis,
    /// Its response key.
    key: String,
    /// The inboxes of the gateway.
    inboxes: Vec<String>,
}

impl Called {
    async fn by(stage: &Stage, gate: &mut Gate) -> Self {
        let first = stage.program(DOOR);
        let mut rq = RqRedis::of(stage).await;
        let key = rq.call("default", "gate", "{\"n\": 1}").await;
        gate.started.recv().await.unwrap();
        let inboxes = rq.keys(INBOXES).await;
        Self { first, rq, key, inboxes }
    }
}

/// Waits until a job is in another inbox than `before`.
async fn taken_over(rq: &mut RqRedis, before: &[String]) {
    eventually("another gateway to take the job over", async || {
        let now = rq.keys(INBOXES).await;
        (now.len() == 1 && now != before).then_some(())
    })
    .await;
}

/// The answer came once, and nothing is left behind.
async fn was_answered_once(rq: &mut RqRedis, key: &str, gate: &Gate) {
    assert_eq!(rq.answer(key).await, json!({"n": 1}));
    rq.inboxes_are_empty().await;
    assert_eq!(rq.ttl(key).await, -2, "answered twice");
    assert_eq!(gate.runs(), 1);
}

#[tokio::test]
async fn call_of_a_killed_gateway_is_joined_and_answered_once() {
    let stage = Stage::new().await;
    let (_worker, mut gate) = gated(&stage).await;
    let Called { first, mut rq, key, inboxes } = Called::by(&stage, &mut gate).await;
    first.signal(Signal::KILL);
    first.wait();
    let _second = stage.program(DOOR);
    taken_over(&mut rq, &inboxes).await;
    gate.end_one();
    was_answered_once(&mut rq, &key, &gate).await;
}

#[tokio::test]
async fn call_that_ended_without_its_gateway_is_answered_once() {
    let stage = Stage::new().await;
    let (_worker, mut gate) = gated(&stage).await;
    let first = stage.program(DOOR);
    let mut rq = RqRedis::of(&stage).await;
    let (key, id) = (uuid(), uuid());
    rq.enqueue("default", &id, &call("gate", "{\"n\": 1}", Some(&key))).await;
    gate.started.recv().await.unwrap();
    first.signal(Signal::KILL);
    first.wait();
    gate.end_one();
    let _second = stage.program(DOOR);
    was_answered_once(&mut rq, &key, &gate).await;
    assert_eq!(rq.status(&id).await.as_deref(), Some("finished"));
}

#[tokio::test]
async fn stalled_gateway_does_not_answer_a_job_that_was_taken_over() {
    let stage = Stage::new().await;
    let (_worker, mut gate) = gated(&stage).await;
    let Called { first, mut rq, key, inboxes } = Called::by(&stage, &mut gate).await;
    first.signal(Signal::STOP);
    let _second = stage.program(DOOR);
    taken_over(&mut rq, &inboxes).await;
    gate.end_one();
    was_answered_once(&mut rq, &key, &gate).await;
    first.signal(Signal::CONT);
    // It ends its own wait, and then itself.
    first.signal(Signal::TERM);
    let (status, log) = first.wait();
    assert!(status.success(), "{status:?} {log:#?}");
    assert_eq!(rq.ttl(&key).await, -2, "answered twice");
}

/// A gateway that was stopped for longer than its lease has lost its jobs, not its role.
#[tokio::test]
async fn gateway_goes_on_after_its_jobs_were_taken_over() {
    let stage = Stage::new().await;
    let (_worker, mut gate) = gated(&stage).await;
    let Called { first, mut rq, key, inboxes } = Called::by(&stage, &mut gate).await;
    first.signal(Signal::STOP);
    let second = stage.program(DOOR);
    taken_over(&mut rq, &inboxes).await;
    // The call goes on: its end reaches both gateways, and only the second may answer.
    first.signal(Signal::CONT);
    gate.end_one();
    was_answered_once(&mut rq, &key, &gate).await;
    // Now the second one stops, and the first one has its jobs.
    let key = rq.call("default", "gate", "{\"n\": 2}").await;
    gate.started.recv().await.unwrap();
    for gateway in [&first, &second] {
        gateway.signal(Signal::STOP);
    }
    first.signal(Signal::CONT);
    gate.end_one();
    assert_eq!(rq.answer(&key).await, json!({"n": 2}));
    rq.inboxes_are_empty().await;
    second.signal(Signal::CONT);
    second.signal(Signal::TERM);
    assert!(second.wait().0.success());
    assert_eq!((rq.ttl(&key).await, gate.runs()), (-2, 2), "answered or run twice");
    let key = rq.call("default", "gate", "{\"n\": 3}").await;
    gate.end_one();
    assert_eq!(rq.answer(&key).await, json!({"n": 3}));
}

#[tokio::test]
async fn drained_gateway_leaves_its_running_calls_to_the_next() {
    let stage = Stage::new().await;
    let (_worker, mut gate) = gated(&stage).await;
    let drain = "\n[worker]\ndrain_timeout = \"100ms\"\n";
    let first = stage.gateway(&format!("{DOOR}{drain}")).await;
    let mut rq = RqRedis::of(&stage).await;
    let key = rq.call("default", "gate", "{\"n\": 1}").await;
    gate.started.recv().await.unwrap();
    let inboxes = rq.keys(INBOXES).await;
    // Its client lives on in this process, and would withdraw what it drops.
    first.end().await.unwrap();
    let _second = stage.gateway(DOOR).await;
    taken_over(&mut rq, &inboxes).await;
    gate.end_one();
    was_answered_once(&mut rq, &key, &gate).await;
}

#[tokio::test]
async fn two_gateways_share_the_jobs() {
    let stage = Stage::new().await;
    let (_worker, gate) = gated(&stage).await;
    gate.ends.add_permits(200);
    let _gateways = [stage.gateway(DOOR).await, stage.gateway(DOOR).await];
    let mut rq = RqRedis::of(&stage).await;
    let mut keys = Vec::new();
    for number in 0..200 {
        keys.push((number, rq.call("default", "gate", &number.to_string()).await));
    }
    for (number, key) in keys {
        assert_eq!(rq.answer(&key).await, number);
        assert_eq!(rq.ttl(&key).await, -2);
    }
    rq.inboxes_are_empty().await;
    assert_eq!(gate.runs(), 200);
}

#[tokio::test]
async fn call_of_a_killed_worker_is_answered_by_the_next() {
    let stage = Stage::new().await;
    let _gateway = stage.gateway(DOOR).await;
    let mut rq = RqRedis::of(&stage).await;
    let file = stage.write(
        "worker.toml",
        format!(
            "[redis]\nurl = \"{}\"\n[worker]\nlease = \"500ms\"\n\
             [jobs.gate]\ncommand = [\"sleep\", \"1000\"]\n",
            stage.redis.url()
        ),
    );
    let target = std::path::Path::new(env!("CARGO_BIN_EXE_redcall-gateway"));
    let program = target.with_file_name("redcall-worker");
    assert!(program.exists(), "{} is missing: cargo build --workspace", program.display());
    let mut worker = std::process::Command::new(program)
        .args(["--settings", file.to_str().unwrap()])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let key = rq.call("default", "gate", "{\"n\": 1}").await;
    eventually("the worker to begin", async || {
        (!rq.keys("redcall:{default}:leases:").await.is_empty()).then_some(())
    })
    .await;
    worker.kill().unwrap();
    worker.wait().unwrap();
    let (_worker, gate) = gated(&stage).await;
    gate.end_one();
    was_answered_once(&mut rq, &key, &gate).await;
}

#[tokio::test]
async fn call_outlives_a_restart_of_redis() {
    let mut redis = RestartableRedis::start().await;
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("redcall.toml");
    let text = format!("[redis]\nurl = \"{}\"\n{DOOR}", redis.settings().url);
    std::fs::write(&file, text).unwrap();
    let settings = redcall_gateway::Settings::load_from(
        Some(&file),
        folder.path(),
        &std::collections::BTreeMap::new(),
    );
    let settings = settings.unwrap();
    let mut of_worker = settings.clone();
    of_worker.gateways.clear();
    let (worker, mut gate) = Gate::add(Worker::from_settings(of_worker).unwrap());
    let _worker = RunningWorker::start(worker);
    let _gateway = RunningGateway::start(Gateway::open(settings).await.unwrap(), Stop::No);
    let connect = async |redis: &RestartableRedis| {
        let client = redcall_testkit::redis::Client::open(redis.settings().url).unwrap();
        let config = redcall_testkit::redis::AsyncConnectionConfig::new()
            .set_response_timeout(Some(std::time::Duration::from_secs(30)));
        let connected = client.get_multiplexed_async_connection_with_config(&config);
        RqRedis(connected.await.unwrap())
    };
    let key = connect(&redis).await.call("default", "gate", "{\"n\": 1}").await;
    gate.started.recv().await.unwrap();
    redis.kill();
    redis.start_again().await;
    gate.end_one();
    let mut rq = connect(&redis).await;
    was_answered_once(&mut rq, &key, &gate).await;
    gate.end_one();
    let key = rq.call("low", "gate", "2").await;
    assert_eq!(rq.answer(&key).await, 2);
}

#[tokio::test]
async fn jobs_of_a_take_whose_reply_was_lost_run_once() {
    let stage = Stage::new().await;
    let (_worker, gate) = gated(&stage).await;
    let proxy = FaultProxy::start(&stage.redis);
    let _gateway = stage.gateway(&format!("{DOOR}url = \"{}\"\n", proxy.url())).await;
    let mut rq = RqRedis::of(&stage).await;
    gate.ends.add_permits(10);
    let key = rq.call("default", "gate", "0").await;
    assert_eq!(rq.answer(&key).await, 0);
    let lost =
        proxy.lose_reply(|exchange| exchange.reply_contains("rpc.python_rq_backend.dispatch"));
    let key = rq.call("default", "gate", "{\"n\": 1}").await;
    lost.await;
    assert_eq!(rq.answer(&key).await, json!({"n": 1}));
    rq.inboxes_are_empty().await;
    assert_eq!((gate.runs(), rq.ttl(&key).await), (2, -2));
}

#[tokio::test]
async fn lost_reply_to_an_answer_is_answered_once() {
    let stage = Stage::new().await;
    let (_worker, gate) = gated(&stage).await;
    let proxy = FaultProxy::start(&stage.redis);
    let _gateway = stage.gateway(&format!("{DOOR}url = \"{}\"\n", proxy.url())).await;
    let mut rq = RqRedis::of(&stage).await;
    let lost = proxy.lose_reply(|exchange| exchange.request_contains("finished"));
    gate.end_one();
    let key = rq.call("default", "gate", "{\"n\": 1}").await;
    lost.await;
    // The next attempt, after its effect.
    let again = proxy.hold_reply(|exchange| exchange.request_contains("finished")).await;
    let answers: usize = rq.0.llen(&key).await.unwrap();
    assert_eq!(answers, 1);
    drop(again);
    was_answered_once(&mut rq, &key, &gate).await;
}

#[tokio::test]
async fn queued_call_of_a_killed_gateway_runs_once() {
    let stage = Stage::new().await;
    let (_worker, mut gate) = gated(&stage).await;
    let proxy = FaultProxy::start(&stage.redis);
    let first = stage.gateway(&format!("{DOOR}url = \"{}\"\n", proxy.url())).await;
    let mut rq = RqRedis::of(&stage).await;
    // Its end does not reach rq: the call is queued, and the job is still in the inbox.
    let held = proxy.hold_request(|exchange| exchange.request_contains("finished"));
    let id = uuid();
    rq.enqueue("default", &id, &call("gate", "0", None)).await;
    gate.started.recv().await.unwrap();
    let held = held.await;
    first.kill().await;
    proxy.refuse();
    proxy.cut().await;
    drop(held);
    let _second = stage.gateway(DOOR).await;
    rq.ends(&id, "finished").await;
    rq.inboxes_are_empty().await;
    gate.end_one();
    assert_eq!(gate.runs(), 1);
}

#[tokio::test]
async fn call_ends_in_time_while_redcalls_redis_is_away() {
    let stage = Stage::new().await;
    let proxy = FaultProxy::start(&stage.redis);
    let rq_redis = TestRedis::start().await;
    let url = format!("url = \"{}\"\n[client]\ntimeout = \"300ms\"\n", rq_redis.url());
    let door = DOOR.replace("20s", "2s") + &url;
    let mut settings = stage.settings(&door);
    settings.redis.url = proxy.url();
    let gateway = Gateway::open(settings).await.unwrap();
    let _gateway = RunningGateway::start(gateway, Stop::No);
    let mut rq = RqRedis(rq_redis.connection().await);
    proxy.refuse();
    proxy.cut().await;
    // A call without an answer, whose attempts fail meanwhile.
    let id = uuid();
    rq.enqueue("high", &id, &call("gate", "0", None)).await;
    let (began, key) = (Instant::now(), rq.call("low", "add", "{}").await);
    let data = rq.answer(&key).await;
    let took = began.elapsed();
    assert_eq!(data["error"]["code"], "unavailable", "{data}");
    // The timeout and a second, and three more for a machine that runs many tests at once.
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(rq.status(&id).await.as_deref(), Some("queued"));
    proxy.pass();
    let (_worker, mut gate) = gated(&stage).await;
    gate.started.recv().await.unwrap();
    gate.end_one();
    rq.ends(&id, "finished").await;
}

#[tokio::test]
async fn door_waits_for_a_redis_that_refuses_writes() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let redis = TestRedis::start().await;
    let mut rq = RqRedis(redis.connection().await);
    // A replica of a server that is not there.
    let replica = redcall_testkit::redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).to_owned();
    let () = replica.query_async(&mut rq.0).await.unwrap();
    let program = stage.program(&format!("{DOOR}url = \"{}\"\n", redis.url()));
    let retried = |line: &serde_json::Value| {
        (line["message"] == "retrying to connect to rq's Redis").then_some(())
    };
    program.logged("an attempt to connect", retried).await;
    let () = redcall_testkit::redis::cmd("REPLICAOF")
        .arg("NO")
        .arg("ONE")
        .query_async(&mut rq.0)
        .await
        .unwrap();
    let key = rq.call("default", "add", "{\"a\": 1, \"b\": 1}").await;
    assert_eq!(rq.answer(&key).await, json!({"answer": 2}));
}

#[tokio::test]
async fn door_whose_user_is_not_accepted_ends_the_gateway() {
    let stage = Stage::new().await;
    let redis = TestRedis::start().await;
    let url = format!("{}?user=unknown&pass=wrong", redis.url());
    let gateway = stage.gateway(&format!("{DOOR}url = \"{url}\"\n")).await;
    let error = gateway.ended().await.unwrap_err();
    assert!(error.to_string().contains("gateways.python-rpc: "), "{error}");
}
