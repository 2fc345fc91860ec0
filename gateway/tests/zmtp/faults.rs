//! Gateways, workers and Redis that end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests, which clippy cannot tell"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redcall_client::{Client, Kind};
use redcall_common::settings::Settings;
use redcall_gateway::zmtp::wire::SocketType;
use redcall_gateway::{Gateway, Stop};
use redcall_testkit::{RestartableRedis, eventually};
use redcall_worker::Worker;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::lab::{Lab, Note, door, jobs};
use crate::peers::{Python, Raw, Version};
use crate::support::{RunningGateway, RunningWorker, Stage};

#[tokio::test]
async fn command_of_a_worker_that_ends_is_answered_by_another() {
    let lab = Lab::new("timeout = \"30s\"").await;
    let mut console = lab.console().await;
    console.send(r#"{"command": 130, "nonce": 9}"#).await;
    assert!(matches!(lab.note().await, Note::Started));
    drop(lab.worker); // as a process that is killed: it settles nothing
    async fn hang() -> redcall_worker::Json<&'static str> {
        redcall_worker::Json("by another")
    }
    let mut settings = lab.stage.settings("");
    settings.worker.lease = Duration::from_secs(2);
    let _other = lab.stage.worker_of(settings, |worker| worker.handler("hang", hang)).await;
    let reply: Value = serde_json::from_str(&console.reply().await).unwrap();
    assert_eq!((&reply["result"], &reply["data"]), (&json!(100), &json!("by another")), "{reply}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_come_back_after_the_gateway_was_killed() {
    let Some(mut python) = Python::start(Version::V0_12) else { return };
    let stage = Stage::new().await;
    let (sender, mut notes) = mpsc::unbounded_channel();
    let _worker = stage.worker(|worker| jobs(worker, sender)).await;
    let program = stage.program(&door("timeout = \"30s\""));
    let commands = program.address("lab", "listen_commands").await;
    let events = program.address("lab", "listen_events").await;
    python.connect("events", "SUB", &[events]);
    python.event("events", "HEARTBEAT");
    // In mid-call: the console sees its connection end, and the command has its own time.
    let mut console = Raw::connect(commands, SocketType::Req).await;
    console.send(r#"{"command": 130}"#).await;
    assert!(matches!(notes.recv().await, Some(Note::Started)));
    program.signal(Signal::KILL);
    assert!(console.next().await.is_none_or(|item| item.is_err()));
    tokio::task::block_in_place(|| program.wait());
    let fixed = door("timeout = \"30s\"")
        .replacen("127.0.0.1:0", &commands.to_string(), 1)
        .replacen("127.0.0.1:0", &events.to_string(), 1);
    let _again = stage.program(&fixed);
    python.event("events", "HEARTBEAT");
    python.connect("console", "REQ", &[commands]);
    assert_eq!(python.request("console", 110, 3, &json!("again"))["data"], "again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_queued_at_a_kill_does_not_start_late() {
    const WAIT: Duration = Duration::from_secs(3);
    let stage = Stage::new().await;
    let (sender, mut notes) = mpsc::unbounded_channel();
    let _worker = stage.worker(|worker| jobs(worker, sender)).await;
    let client = stage.client().await;
    let program = stage.program(&door("timeout = \"3s\""));
    let commands = program.address("lab", "listen_commands").await;
    let mut console = Raw::connect(commands, SocketType::Req).await;
    client.pause("device").await.unwrap();
    console.send(r#"{"command": 130}"#).await;
    let length = async |wanted: u64| {
        eventually("the queue to have so many requests", async || {
            let queue = client.inspect().queue("device").await.ok()?;
            (queue.length == wanted && queue.running == 0).then_some(())
        })
        .await;
    };
    length(1).await;
    let queued = Instant::now();
    program.signal(Signal::KILL);
    tokio::task::block_in_place(|| program.wait());
    eventually("the console's wait to be over", async || (queued.elapsed() > WAIT).then_some(()))
        .await;
    client.resume("device").await.unwrap();
    length(0).await;
    assert!(notes.try_recv().is_err(), "the command has run");
    // Others run.
    let _again = client.request("hang").queue("device").submit().await.unwrap();
    assert!(matches!(notes.recv().await, Some(Note::Started)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_answer_commands_and_publish_all_events() {
    let Some(mut python) = Python::start(Version::V0_12) else { return };
    let lab = Lab::new("").await;
    let other = lab.stage.gateway(&door("")).await;
    let commands = [lab.commands(), other.address("lab", "listen_commands")];
    let events = [lab.events(), other.address("lab", "listen_events")];
    python.connect("console", "REQ", &commands);
    for number in 0..4 {
        let reply = python.request("console", 110, number, &json!([number]));
        assert_eq!((&reply["nonce"], &reply["data"]), (&json!(number), &json!([number])));
    }
    python.connect("events", "SUB", &events);
    for at in events {
        let mut known = Raw::subscriber(at).await;
        while known.event().await.0 != 1001 {}
    }
    lab.client.publish("event", Kind(7), "twice").await.unwrap();
    for _ in 0..2 {
        assert_eq!(python.event("events", "EVENT")["context"], "twice");
    }
}

/// Reads settings for a Redis that is restarted.
fn settings(redis: &RestartableRedis, text: &str) -> Settings {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("redcall.toml");
    std::fs::write(&file, text).unwrap();
    let mut settings = Settings::load_from(Some(&file), folder.path(), &BTreeMap::new()).unwrap();
    settings.redis = redis.settings();
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_and_events_go_on_after_redis_was_restarted() {
    let mut redis = RestartableRedis::start().await;
    let of = settings(&redis, &door("timeout = \"2s\""));
    let mut device = of.clone();
    device.worker.queues = vec!["device".to_owned()];
    device.gateways.clear();
    let (sender, _notes) = mpsc::unbounded_channel();
    let _worker = RunningWorker::start(jobs(Worker::from_settings(device).unwrap(), sender));
    let client = Client::from_settings(&of).await.unwrap();
    let gateway = RunningGateway::start(Gateway::open(of).await.unwrap(), Stop::No);
    let commands = gateway.address("lab", "listen_commands");
    let mut console = Raw::connect(commands, SocketType::Req).await;
    let mut subscriber = Raw::subscriber(gateway.address("lab", "listen_events")).await;
    let answered = async |console: &mut Raw| {
        eventually("an answer", async || {
            let reply = console.request(r#"{"command": 110, "data": 1}"#).await;
            (reply["result"] == 100).then_some(())
        })
        .await;
    };
    answered(&mut console).await;
    while subscriber.event().await.0 != 1001 {}

    redis.kill();
    let since = Instant::now();
    let reply = console.request(r#"{"command": 110, "nonce": 5}"#).await;
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    assert_eq!(json!([reply["nonce"], reply["result"], reply["errorKind"]]), json!([5, 9999, 1]));

    redis.start_again().await;
    answered(&mut console).await;
    eventually("an event", async || {
        client.publish("event", Kind(7), "back").await.ok()?;
        let event = tokio::time::timeout(Duration::from_millis(500), subscriber.event_of(4001));
        event.await.ok()
    })
    .await;
}
