//! The bench on which tests of both ends run: a private Redis, workers, clients, real programs.
//!
//! No test is here; tests are in `tests/`, by topic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot be set up must fail loudly"
)]

mod counter;
#[cfg(doctest)]
pub mod guide;
mod program;

use std::collections::BTreeMap;
use std::thread::JoinHandle;
use std::time::Duration;

use redcall_client::{Client, WorkerInfo};
use redcall_common::settings::{
    HandlerSettings, HttpSettings, JobSettings, ProcessSettings, Settings,
};
use redcall_testkit::{FaultProxy, TestRedis, eventually};
use redcall_worker::{Stop, Worker};
use tokio::sync::watch;

pub use counter::{counter, counter_service};
pub use program::{Program, binary};

/// The lease of workers. A heartbeat comes every third of it: with half a second, a worker that its
/// machine stops for a moment would count as dead, and others would take over what it runs.
pub const LEASE: Duration = Duration::from_millis(1500);

/// A private Redis, and the settings of its users.
pub struct Bench {
    /// The server.
    pub redis: TestRedis,
    /// Given to workers and clients; change them before those start.
    pub settings: Settings,
}

impl Bench {
    /// A fresh server, a mapping of `add`, `echo`, `sleep` and `fail` to the built-in handlers,
    /// and the lease [`LEASE`].
    pub async fn new() -> Self {
        Self::on(TestRedis::start().await)
    }

    /// The same on a given server.
    #[must_use]
    pub fn on(redis: TestRedis) -> Self {
        let mut settings = Settings { redis: redis.settings(), ..Settings::default() };
        settings.worker.lease = LEASE;
        settings.client.timeout = Duration::from_secs(20);
        let jobs = ["add", "echo", "sleep", "fail"];
        settings.jobs = jobs.map(|name| (name.to_owned(), builtin(name))).into_iter().collect();
        Self { redis, settings }
    }

    /// A client of these settings.
    pub async fn client(&self) -> Client {
        Client::from_settings(&self.settings).await.expect("connect the client")
    }

    /// A client of these settings that reaches Redis through `proxy`.
    pub async fn client_behind(&self, proxy: &FaultProxy) -> Client {
        let settings = Settings { redis: proxy.settings(), ..self.settings.clone() };
        Client::from_settings(&settings).await.expect("connect the client")
    }

    /// A worker of these settings with only their mapping.
    pub async fn worker(&self) -> RunningWorker {
        self.worker_with(|worker| worker).await
    }

    /// A worker of these settings with the handlers that `build` puts in. Returns once callers
    /// can see it.
    pub async fn worker_with(&self, build: impl FnOnce(Worker) -> Worker) -> RunningWorker {
        let worker = build(Worker::from_settings(self.settings.clone()).expect("a worker"));
        let before = self.workers().await.len();
        let running = RunningWorker::start(worker);
        eventually("the worker to appear", async || {
            (self.workers().await.len() > before).then_some(())
        })
        .await;
        running
    }

    /// The workers that count as alive.
    pub async fn workers(&self) -> Vec<WorkerInfo> {
        self.client().await.inspect().workers().await.expect("read the workers")
    }

    /// Maps job `name` to a command.
    pub fn command(&mut self, name: &str, command: &[&str]) -> &mut JobSettings {
        let command = command.iter().map(ToString::to_string).collect();
        self.job(name, HandlerSettings::Command(command))
    }

    /// Maps job `name` to one long-lived process.
    pub fn process(&mut self, name: &str, command: &[&str]) -> &mut JobSettings {
        let command = command.iter().map(ToString::to_string).collect();
        self.job(name, HandlerSettings::Process(ProcessSettings::new(command)))
    }

    /// Maps job `name` to a request.
    pub fn http(&mut self, name: &str, method: &str, url: &str) -> &mut JobSettings {
        let (method, url, headers) = (method.to_owned(), url.to_owned(), BTreeMap::new());
        self.job(name, HandlerSettings::Http(HttpSettings { method, url, headers }))
    }

    fn job(&mut self, name: &str, kind: HandlerSettings) -> &mut JobSettings {
        self.settings.jobs.insert(name.to_owned(), JobSettings::new(kind));
        self.settings.jobs.get_mut(name).expect("just put in")
    }

    /// These settings as environment variables, for real programs.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::from([
            ("REDIS_URL".to_owned(), self.redis.url()),
            ("REDCALL__WORKER__LEASE".to_owned(), format!("{}ms", LEASE.as_millis())),
        ]);
        for name in ["add", "echo", "sleep", "fail"] {
            let key = format!("REDCALL__JOBS__{}__HANDLER", name.to_uppercase());
            variables.insert(key, format!("builtin:{name}"));
        }
        variables
    }
}

fn builtin(name: &str) -> JobSettings {
    JobSettings::new(HandlerSettings::Compiled(format!("builtin:{name}")))
}

/// A worker on a runtime of its own, so that its handlers cannot disturb the test. Dropping it
/// stops it at once.
pub struct RunningWorker {
    stop: watch::Sender<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl RunningWorker {
    /// Starts it, without waiting until callers can see it.
    #[must_use]
    pub fn start(worker: Worker) -> Self {
        let (stop, stopped) = watch::channel(Stop::No);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(4)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(worker.run_until(stopped)).expect("run the worker");
            // A handler that ignores its end must not keep the test.
            runtime.shutdown_background();
        });
        Self { stop, thread: Some(thread) }
    }

    /// Requests a stop, without waiting.
    pub fn request_stop(&self, stop: Stop) {
        self.stop.send_replace(stop);
    }

    /// Drains it and waits for its end.
    pub async fn drain(mut self) {
        self.request_stop(Stop::Drain);
        let thread = self.thread.take().expect("not joined yet");
        tokio::task::spawn_blocking(|| thread.join().expect("the worker")).await.expect("join");
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.request_stop(Stop::Now);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
