//! The harness of the gateway's tests: a private Redis, a worker with simple jobs, and a gateway,
//! in this process or as the real program.
//!
//! A test binary includes it by `#[path = "../support/mod.rs"] mod support;`.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a fixture that cannot be made fails its test, and says why by panicking"
)]

mod program;
mod running;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub(crate) use program::Program;
use redcall_client::Client;
use redcall_common::settings::{HandlerSettings, JobSettings, Settings};
use redcall_gateway::{Gateway, Stop};
use redcall_testkit::{TestRedis, eventually};
use redcall_worker::Worker;
pub(crate) use running::{RunningGateway, RunningWorker};
use rustix::process::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Allows this process both ends of a thousand connections.
pub(crate) fn allow_many_files() {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum.map(|max| max.min(8192)).or(Some(8192));
    setrlimit(Resource::Nofile, files).unwrap();
}

/// Returns the text of `/metrics` of the probes at this address.
pub(crate) async fn metrics(probes: SocketAddr) -> String {
    let mut stream = TcpStream::connect(probes).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

/// A private Redis and a folder for settings.
pub(crate) struct Stage {
    pub(crate) redis: TestRedis,
    pub(crate) place: TempDir,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self { redis: TestRedis::start().await, place: TempDir::new().unwrap() }
    }

    /// The folder of the settings file.
    pub(crate) fn folder(&self) -> &Path {
        self.place.path()
    }

    /// Writes `text` into `file` next to the settings; returns its path.
    pub(crate) fn write(&self, file: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder().join(file);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes the settings file: `text`, with the address of Redis in front. Its last sections may
    /// be tables of any name but `redis`.
    pub(crate) fn settings_file(&self, text: &str) -> PathBuf {
        let head = format!("[redis]\nurl = \"{}\"\n", self.redis.url());
        self.write("redcall.toml", format!("{head}{text}"))
    }

    /// Reads `text` as a settings file, with the address of Redis in front.
    pub(crate) fn settings(&self, text: &str) -> Settings {
        let file = self.settings_file(text);
        Settings::load_from(Some(&file), self.folder(), &BTreeMap::new())
            .unwrap_or_else(|error| panic!("{error}\n{}", error.help()))
    }

    /// A client of this Redis.
    pub(crate) async fn client(&self) -> Client {
        Client::from_settings(&self.settings("")).await.unwrap()
    }

    /// Starts a worker of the queues `default` and `device` with the built-in jobs `add`, `count`,
    /// `echo`, `fail` and `sleep`, and what `build` adds.
    pub(crate) async fn worker(&self, build: impl FnOnce(Worker) -> Worker) -> RunningWorker {
        self.worker_of(self.settings(""), build).await
    }

    /// As [`Stage::worker`], with these settings; their jobs and queues are kept.
    pub(crate) async fn worker_of(
        &self,
        settings: Settings,
        build: impl FnOnce(Worker) -> Worker,
    ) -> RunningWorker {
        self.worker_with(settings, |worker| (build(worker), ())).await.0
    }

    /// As [`Stage::worker_of`]; returns also what `build` has made for the test.
    pub(crate) async fn worker_with<T>(
        &self,
        mut settings: Settings,
        build: impl FnOnce(Worker) -> (Worker, T),
    ) -> (RunningWorker, T) {
        for name in ["add", "count", "echo", "fail", "sleep"] {
            let handler = HandlerSettings::Compiled(format!("builtin:{name}"));
            settings.jobs.entry(name.to_owned()).or_insert_with(|| JobSettings::new(handler));
        }
        if settings.worker.queues == Settings::default().worker.queues {
            settings.worker.queues = vec!["default".to_owned(), "device".to_owned()];
        }
        settings.gateways.clear();
        let (worker, made) = build(Worker::from_settings(settings).unwrap());
        let readiness = worker.readiness();
        let running = RunningWorker::start(worker);
        eventually("the worker to be ready", async || readiness.check().await.ok()).await;
        (running, made)
    }

    /// Opens a gateway in this process, with `text` as its settings.
    pub(crate) async fn gateway(&self, text: &str) -> RunningGateway {
        let gateway = Gateway::open(self.settings(text)).await.unwrap_or_else(|e| panic!("{e:?}"));
        RunningGateway::start(gateway, Stop::No)
    }

    /// Starts `redcall-gateway` with `text` as its settings. Its log is JSON, unless `text` has a
    /// section `log`.
    pub(crate) fn program(&self, text: &str) -> Program {
        let log = if text.contains("[log]") { "" } else { "\n[log]\nformat = \"json\"\n" };
        let file = self.settings_file(&format!("{text}{log}"));
        Program::start(&["--settings", file.to_str().unwrap()])
    }
}
