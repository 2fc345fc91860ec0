//! An unwritable or unread log stops nothing; a flood of lines is bounded.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod failures;
mod lines;
mod repairs;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use redcall_client::{Code, RequestBuilder};
use redcall_testkit::eventually;
use redcall_tests::{Bench, LEASE, binary};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::operation::probes::{try_get, values};
use crate::support::{Logged, Ran, SettingsFile, failed, unused_address};

/// Longer than any drain of these tests.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// A worker with this log. Killed when dropped.
struct Worker {
    child: Child,
    admin: SocketAddr,
}

impl Worker {
    /// Starts `command`, a program of a worker of `bench`. Returns once it is ready.
    async fn start(mut command: Command, bench: &Bench, stderr: impl Into<Stdio>) -> Self {
        // Its log cannot report its port.
        let free = unused_address();
        command.envs(bench.environment());
        command.env("REDCALL__ADMIN__LISTEN", free.to_string());
        command.env("REDCALL__JOBS__SLEEP__TIMEOUT", "4s");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let worker = Self { child: child.spawn().unwrap(), admin: free };
        eventually("the worker to be ready", async || {
            (try_get(free, "/ready").await?.status == 200).then_some(())
        })
        .await;
        worker
    }

    async fn dropped(&self, reason: &str) -> f64 {
        let metrics = values(&try_get(self.admin, "/metrics").await.unwrap().body);
        metrics[&format!("redcall_log_lines_dropped_total{{reason=\"{reason}\"}}")]
    }

    /// Has it drain; how it ended.
    async fn stop(mut self) -> ExitStatus {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        let waiting =
            async { eventually("its end", async || self.child.try_wait().unwrap()).await };
        tokio::time::timeout(END_TIMEOUT, waiting).await.unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command
}

fn worker() -> Command {
    program(binary("redcall-worker"))
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

async fn add(bench: &Bench) {
    let called = bench.client().await.call_and_wait("add", &json!({"a": 1, "b": 1})).await;
    assert_eq!(called.unwrap().data.get(), r#"{"answer":2}"#);
}

#[tokio::test]
async fn full_log_device_or_closed_pipe_ends_no_worker() {
    let bench = Bench::new().await;
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    for stderr in [Stdio::from(full()), closed.into()] {
        let worker = Worker::start(worker(), &bench, stderr).await;
        add(&bench).await;
        // Its log is written by a thread of its own, after the lines of its start.
        eventually("lines to be dropped", async || {
            (worker.dropped("write_failed").await > 0.0).then_some(())
        })
        .await;
        assert_eq!(worker.stop().await.code(), Some(0));
    }
}

#[tokio::test]
async fn log_size_limit_keeps_the_worker_and_reports_missing_lines() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = File::options().create(true).append(true).open(&path).unwrap();
    let mut command = program("sh");
    // In blocks of 512 or 1024 bytes: some lines fit, the worker's start alone has more.
    command.args(["-c", "ulimit -f 1; exec \"$0\""]).arg(binary("redcall-worker"));
    command.env("REDCALL__LOG__LEVEL", "debug");
    let worker = Worker::start(command, &bench, log).await;
    let client = bench.client().await;
    let fails = async || failed(client.call_and_wait("fail", &json!({"message": "no"})).await);
    eventually("the limit to be met", async || {
        assert_eq!(fails().await.code, Code::HandlerFailed);
        (worker.dropped("write_failed").await > 0.0).then_some(())
    })
    .await;
    assert!(std::fs::metadata(&path).unwrap().len() <= 1024);
    // As a rotation does it.
    File::options().write(true).truncate(true).open(&path).unwrap();
    eventually("the log to report the missing lines", async || {
        let log = std::fs::read_to_string(&path).unwrap();
        log.contains("log lines before this one were dropped").then_some(())
    })
    .await;
    add(&bench).await;
    assert_eq!(worker.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_log_delays_neither_jobs_nor_signals() {
    let bench = Bench::new().await;
    let (unread, stderr) = std::io::pipe().unwrap();
    let mut command = worker();
    command.args(["--concurrency", "4"]);
    let worker = Worker::start(command, &bench, stderr).await;
    let client = bench.client().await;
    // More lines than a pipe takes.
    let jobs = (0..1000).map(|_| client.request("fail").data(&json!({"message": "no"})));
    for called in join_all(jobs.map(RequestBuilder::wait)).await {
        assert_eq!(failed(called).code, Code::HandlerFailed);
    }
    // Two leases long: it is renewed, or another run would answer later.
    let ms = 2 * LEASE.as_millis() as u64;
    let call = client.request("sleep").data(&json!({ "ms": ms })).submit().await.unwrap();
    assert_eq!(call.wait().await.unwrap().data.get(), "null");
    assert_eq!(try_get(worker.admin, "/live").await.unwrap().status, 200);
    let busy = async || {
        let metrics = values(&try_get(worker.admin, "/metrics").await?.body);
        Some(metrics["redcall_slots{state=\"busy\"}"])
    };
    eventually("its slot to be free", async || (busy().await? == 0.0).then_some(())).await;
    // A drain waits for this one, and not for the log.
    let last = client.request("sleep").data(&json!({"ms": 1000})).submit().await.unwrap();
    // Its lease alone does not show that the worker has begun with it.
    eventually("it to run", async || (busy().await? == 1.0).then_some(())).await;
    assert_eq!(worker.stop().await.code(), Some(0));
    last.wait().await.unwrap();
    drop(unread);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panics_beside_an_unread_log_block_no_thread() {
    let bench = Bench::new().await;
    let (unread, stderr) = std::io::pipe().unwrap();
    let worker = Worker::start(program(binary("mortal")), &bench, stderr).await;
    let client = bench.client().await;
    let jobs = (0..1500).map(|_| client.request("panics"));
    for called in join_all(jobs.map(RequestBuilder::wait)).await {
        assert_eq!(failed(called).code, Code::HandlerPanicked);
    }
    assert_eq!(worker.stop().await.code(), Some(0));
    drop(unread);
}

#[tokio::test]
async fn panic_is_a_line_of_the_log() {
    let bench = Bench::new().await;
    let mut env = bench.environment();
    env.insert("REDCALL__LOG__FORMAT".into(), "json".into());
    let worker = Logged::start("mortal", &[], &env);
    worker.line("\"ready\"").await;
    failed(bench.client().await.call_and_wait("panics", &Value::Null).await);
    let line: Value = serde_json::from_str(&worker.line("as requested").await).unwrap();
    assert_eq!(line["message"], "panic: as requested");
    assert!(line["at"].as_str().unwrap().contains("mortal.rs:"), "{line}");
}

#[tokio::test]
async fn background_worker_outlives_a_full_log_file() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let pid_file = ["--pid-file", pid_file.to_str().unwrap()];
    let run = async |args: &[&str], env: &BTreeMap<String, String>| {
        Ran::new("redcall-worker", &[args, &pid_file].concat(), env).await
    };
    let env = bench.environment();
    let started = run(&["--background", "--log-file", "/dev/full"], &env).await;
    assert_eq!((started.code, &*started.stderr), (0, ""));
    add(&bench).await;
    let status = run(&["status"], &env).await;
    assert!(status.code == 0 && status.stdout.ends_with(": ready\n"), "{status:?}");
    let stopped = run(&["stop"], &env).await;
    assert!(stopped.code == 0 && stopped.stdout.contains("has stopped"), "{stopped:?}");
}

#[tokio::test]
async fn stderr_of_a_loud_command_fills_no_log() {
    let bench = Bench::new().await;
    let text = format!(
        r#"
        redis.url = "{}"
        [jobs.loud]
        command = ["sh", "-c", "yes 'a loud line' | head -c 40000000 >&2; echo 1"]
        "#,
        bench.redis.url()
    );
    let file = SettingsFile::new(&text);
    let worker = Logged::start("redcall-worker", &["--settings", file.arg()], &[].into());
    worker.line(": ready").await;
    let client = bench.client().await;
    assert_eq!(client.call_and_wait("loud", &Value::Null).await.unwrap().data.get(), "1");
    worker.signal(Signal::TERM);
    let warning = worker.line("dropped stderr lines beyond the job's log budget").await;
    assert!(warning.contains("name=\"loud\"") && warning.contains("WARN"), "{warning}");
    let log = worker.ended().await;
    assert!(log.contains("stopped"), "{log}");
    assert!(log.contains("stderr: a loud line"));
    assert!(log.len() < 8_000_000, "{} bytes", log.len());
}

#[tokio::test]
async fn repeated_warning_is_one_line_and_a_count() {
    let bench = Bench::new().await;
    let worker = Logged::start("redcall-worker", &[], &bench.environment());
    worker.line(": ready").await;
    let since = Instant::now();
    let mut conn = bench.redis.connection().await;
    let warning = "lost the connection to Redis";
    let connected = || worker.log().matches("connected to Redis again").count();
    while connected() <= 5 {
        let before = connected();
        let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").to_owned();
        let _: i64 = kill.query_async(&mut conn).await.unwrap();
        // Not killed again before: a slow machine would never connect.
        let again = async || (connected() > before).then_some(());
        eventually("it to connect again", again).await;
    }
    worker.signal(Signal::TERM);
    let log = worker.ended().await;
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(warning)).collect();
    let [first, counts @ ..] = lines.as_slice() else { panic!("{log}") };
    assert!(first.contains("WARN") && !first.contains("times more"), "{log}");
    // One, and a further one for each ten seconds that a slow machine takes.
    let max = 1 + since.elapsed().as_secs() / 10;
    assert!((1..=max).contains(&(counts.len() as u64)), "{log}");
    for count in counts {
        assert!(count.contains(" times more: lost the connection to Redis address="), "{log}");
        assert!(count.contains("repeated="), "{log}");
    }
}
