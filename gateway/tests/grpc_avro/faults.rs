//! Gateways, workers and Redis that die while a job is followed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redcall_client::JobState;
use redcall_testkit::{RestartableRedis, eventually};
use serde_json::json;

use crate::client::{CALL, GrpcClient, INIT, monitor, record};
use crate::door::{door, template, worker};
use crate::python::python;
use crate::support::{RunningGateway, Stage};

#[tokio::test]
async fn job_of_a_dead_gateway_is_monitored_through_others() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let (first, second) = (stage.program(&door("")), stage.program(&door("")));
    let mut begins = GrpcClient::of(&python, first.address("scix", "listen").await);
    let mut other = GrpcClient::of(&python, second.address("scix", "listen").await);
    begins.begin(json!({"path": INIT, "record": record(true)})).await;
    let id = begins.record().await["hash"].as_str().unwrap().to_owned();
    other.begin(monitor(&id, true)).await;
    assert_eq!(other.state().await, "Pending");
    // As `kill -9`.
    drop(first);
    assert_eq!(begins.code().await, "UNAVAILABLE");
    let (_worker, mut job) = worker(&stage).await;
    assert_eq!(other.state().await, "Processing");
    job.started.recv().await.unwrap();
    // Also through one that starts after all this.
    let third = stage.program(&door(""));
    let mut late = GrpcClient::of(&python, third.address("scix", "listen").await);
    late.begin(monitor(&id, true)).await;
    assert_eq!(late.state().await, "Processing");
    job.end_one();
    for client in [&mut other, &mut late] {
        assert_eq!(client.state().await, "Success");
        assert_eq!(client.code().await, "OK");
    }
}

/// A real worker whose job ends when the named pipe is written. Killed when dropped.
struct Process(Child);

impl Process {
    fn start(stage: &Stage, pipe: &Path) -> Self {
        let text = format!(
            "[redis]\nurl = \"{}\"\n[worker]\nlease = \"500ms\"\n[jobs.template]\n\
             command = [\"cat\", \"{}\"]\n",
            stage.redis.url(),
            pipe.display()
        );
        let file = stage.write("worker.toml", text);
        let program = Path::new(env!("CARGO_BIN_EXE_redcall-gateway"));
        // Built by `cargo xtask test`, with all programs.
        let program = program.with_file_name("redcall-worker");
        let started = Command::new(&program)
            .arg("--settings")
            .arg(file)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(started.unwrap_or_else(|error| panic!("{}: {error}", program.display())))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn killed_worker_does_not_repeat_processing() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let pipe = stage.folder().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let first = Process::start(&stage, &pipe);
    let mut client = GrpcClient::of(&python, gateway.address("scix", "listen"));
    client.begin(json!({"path": INIT, "record": record(true)})).await;
    let id = client.record().await["hash"].as_str().unwrap().to_owned();
    assert_eq!(client.state().await, "Processing");
    drop(first);
    let _second = Process::start(&stage, &pipe);
    let redcall = stage.client().await;
    eventually("the second run", async || {
        let status = redcall.status(("default", &*id)).await.unwrap();
        (status.state == JobState::Processing && status.attempt == 2).then_some(())
    })
    .await;
    tokio::task::spawn_blocking(move || std::fs::write(pipe, "null")).await.unwrap().unwrap();
    assert_eq!(client.state().await, "Success");
    assert_eq!(client.code().await, "OK");
}

#[tokio::test]
async fn stream_goes_on_after_redis_has_restarted() {
    let Some(python) = python() else { return };
    let (stage, mut redis) = (Stage::new().await, RestartableRedis::start().await);
    let mut settings = stage.settings(&door("timeout = \"2s\""));
    settings.redis = redis.settings();
    let gateway = redcall_gateway::Gateway::open(settings.clone()).await.unwrap();
    let gateway = RunningGateway::start(gateway, redcall_gateway::Stop::No);
    let (_worker, mut job) = stage.worker_with(settings, template).await;
    let mut client = GrpcClient::of(&python, gateway.address("scix", "listen"));
    let mut other = GrpcClient::of(&python, gateway.address("scix", "listen"));
    client.begin(json!({"path": INIT, "record": record(true)})).await;
    client.record().await;
    assert_eq!(client.state().await, "Processing");
    job.started.recv().await.unwrap();
    redis.kill();
    let init = json!({"path": INIT, "record": record(false)});
    let call = json!({"path": CALL, "record": record(false)});
    for call in [init, call, monitor("some-id", false), monitor("some-id", true)] {
        let began = Instant::now();
        assert_eq!(other.refused(call.clone()).await.0, "UNAVAILABLE", "{call}");
        assert!(began.elapsed() < Duration::from_secs(3), "{call}: {:?}", began.elapsed());
    }
    redis.start_again().await;
    job.end_one();
    assert_eq!(client.state().await, "Success");
    assert_eq!(client.code().await, "OK");
}

#[tokio::test]
async fn draining_gateway_ends_its_streams_as_unavailable() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let mut client = GrpcClient::of(&python, gateway.address("scix", "listen"));
    client.begin(json!({"path": INIT, "record": record(true)})).await;
    client.record().await;
    // After this frame, the stream waits for the next state.
    let (_worker, _job) = worker(&stage).await;
    assert_eq!(client.state().await, "Processing");
    let began = Instant::now();
    gateway.end().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let end = client.next().await;
    // A status, not a cut connection.
    let details = "the gateway shuts down; the job continues: monitor it again";
    assert_eq!(end, json!({"code": "UNAVAILABLE", "details": details}));
}
