//! Programs that die in the middle of a call, and a Redis that restarts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redcall_client::{Client, Code};
use redcall_common::settings::Settings;
use redcall_gateway::{Gateway, Stop};
use redcall_testkit::{RestartableRedis, eventually};
use serde_json::json;

use crate::raw::{Peer, error, result};
use crate::support::{Program, RunningGateway, Stage};

const DOOR: &str = "[gateways.apps]\nprotocol = \"pm\"\nlisten = \"127.0.0.1:0\"\n\
    serves = [\"run\"]\nqueues = [\"pm\"]\n";

/// A process of `redcall-worker`. Killed when dropped.
struct WorkerProcess(Child);

impl WorkerProcess {
    fn start(settings: &Path) -> Self {
        let test = std::env::current_exe().unwrap();
        let program = test.ancestors().nth(2).unwrap().join("redcall-worker");
        assert!(program.exists(), "run `cargo build --workspace` first");
        let mut command = Command::new(program);
        command.arg("--settings").arg(settings).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn running(client: &Client, queue: &str) {
    eventually("the job to run", async || {
        let queue = client.inspect().queue(queue).await.ok()?;
        (queue.running == 1).then_some(())
    })
    .await;
}

fn worker_settings(stage: &Stage) -> PathBuf {
    let redis = stage.redis.url();
    let text = format!(
        "[redis]\nurl = \"{redis}\"\n[worker]\nqueues = [\"default\"]\nlease = \"500ms\"\n\
         [jobs.sleep]\nhandler = \"builtin:sleep\"\n"
    );
    stage.write("worker.toml", text)
}

#[tokio::test]
async fn killed_worker_costs_its_caller_nothing_but_time() {
    let stage = Stage::new().await;
    let client = stage.client().await;
    let settings = worker_settings(&stage);
    let gateway = stage.gateway(DOOR).await;
    let mut peer = Peer::connect(gateway.address("apps", "listen")).await;
    let first = WorkerProcess::start(&settings);
    peer.request(1, "sleep", "S", json!({"ms": 1500})).await;
    running(&client, "default").await;
    drop(first);
    let _second = WorkerProcess::start(&settings);
    let answer = peer.next().await;
    assert_eq!(
        (&answer["id"], answer["result"]["sid"].as_str()),
        (&json!(1), Some("S")),
        "{answer}"
    );
}

#[tokio::test]
async fn killed_gateway_leaves_its_jobs_to_the_next_application() {
    let stage = Stage::new().await;
    let client = stage.client().await;
    let text = format!("[worker]\nlease = \"500ms\"\n{DOOR}");
    let first = stage.program(&text);
    let mut peer = Peer::connect(first.address("apps", "listen").await).await;
    let ticket = client.request("run").queue("pm").submit().await.unwrap();
    let incoming = peer.next().await;
    assert_eq!(incoming["params"]["sid"], json!(ticket.id));
    killed(first);
    assert_eq!(peer.next_text().await, None);
    let second = stage.program(&text);
    let mut peer = Peer::connect(second.address("apps", "listen").await).await;
    let incoming = peer.next().await;
    assert_eq!(incoming["params"]["sid"], json!(ticket.id));
    peer.answer(&incoming, json!({"type": 0})).await;
    assert_eq!(client.fetch(&ticket.response_key).await.unwrap().data.get(), r#"{"type":0}"#);
}

/// Ends a program as a crash does.
fn killed(program: Program) {
    program.signal(rustix::process::Signal::KILL);
    let _ = program.wait();
}

#[tokio::test]
async fn killed_gateway_ends_its_links_and_their_jobs_at_their_budget() {
    let stage = Stage::new().await;
    let client = stage.client().await;
    let _worker = stage.worker(|worker| worker).await;
    let first = stage.program(&format!("{DOOR}timeout = \"1s\"\n"));
    let mut peer = Peer::connect(first.address("apps", "listen").await).await;
    peer.request(1, "sleep", "S", json!({"ms": 60_000})).await;
    running(&client, "default").await;
    killed(first);
    assert_eq!(peer.next_text().await, None);
    eventually("the job to end with its budget", async || {
        let queue = client.inspect().queue("default").await.ok()?;
        (queue.running == 0).then_some(())
    })
    .await;
    let second = stage.program(DOOR);
    let mut peer = Peer::connect(second.address("apps", "listen").await).await;
    assert_eq!(peer.call(1, "echo", json!(1)).await, result(1, "S", &json!(1)));
}

#[tokio::test]
async fn link_survives_a_restart_of_redis() {
    let mut redis = RestartableRedis::start().await;
    let folder = tempfile::TempDir::new().unwrap();
    let read = |text: &str| {
        let file = folder.path().join("redcall.toml");
        std::fs::write(&file, text).unwrap();
        let mut settings =
            Settings::load_from(Some(&file), folder.path(), &BTreeMap::new()).unwrap();
        settings.redis = redis.settings();
        settings
    };
    let client = Client::from_settings(&read("")).await.unwrap();
    let settings = read(&format!("{DOOR}timeout = \"2s\"\nqueue = \"default\"\n"));
    let gateway = Gateway::open(settings).await.unwrap();
    let gateway = RunningGateway::start(gateway, Stop::No);
    let mut peer = Peer::connect(gateway.address("apps", "listen")).await;
    let run = || client.request("run").queue("pm").timeout(Duration::from_secs(15));
    let call = tokio::spawn(run().wait());
    let incoming = peer.next().await;
    peer.answer(&incoming, json!(1)).await;
    assert_eq!(call.await.unwrap().unwrap().data.get(), "1");

    redis.kill();
    let begun = Instant::now();
    assert_eq!(error(&peer.call(1, "echo", json!(1)).await).0, -2);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    redis.start_again().await;

    // The same link calls and is called again.
    let incoming = eventually("a job to reach the application", async || {
        let call = client.request("run").queue("pm").timeout(Duration::from_secs(1)).submit();
        call.await.ok()?;
        Some(peer.next().await)
    })
    .await;
    assert_eq!(incoming["method"], "run");
    peer.answer(&incoming, json!(2)).await;
    let refused = peer.call(2, "echo", json!(1)).await;
    assert_eq!(error(&refused).0, -2, "there is no worker of `default`: {refused}");
    assert_eq!(Code::NoWorkers.as_str(), "no_workers");
}
