//! How a worker ends: by one signal, by two, after its time to drain, and by SIGKILL.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::time::{Duration, Instant};

use redcall_client::{CallError, Client, Code, Response};
use redcall_testkit::eventually;
use redcall_tests::{Bench, Program};
use redcall_worker::{Json, Worker};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::held::HeldCommand;
use crate::support::{QUEUE, SettingsFile, blocked, is_registry, is_running, keys};

/// A real worker, and its environment.
struct Stage {
    program: Program,
    client: Client,
    conn: MultiplexedConnection,
    bench: Bench,
    held: HeldCommand,
}

impl Stage {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A worker with further variables in its environment.
    async fn with(variables: &[(&str, &str)]) -> Self {
        Self::of(Bench::new().await, variables).await
    }

    /// The same for a bench.
    async fn of(bench: Bench, variables: &[(&str, &str)]) -> Self {
        let (mut env, held) = (bench.environment(), HeldCommand::new());
        env.extend([held.variable()]);
        env.extend(variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let program = Program::start("redcall-worker", &[], &env);
        eventually("the worker to appear", async || {
            (bench.workers().await.len() == 1).then_some(())
        })
        .await;
        let (client, conn) = (bench.client().await, bench.redis.connection().await);
        Self { program, client, conn, bench, held }
    }

    /// Calls `held` in the background; returns once it runs.
    async fn call(&self) -> JoinHandle<Result<Response, CallError>> {
        let client = self.client.clone();
        let call = async move { client.call_and_wait("held", &Value::Null).await };
        let call = tokio::spawn(call);
        self.held.runs().await;
        call
    }

    /// Signals the worker; returns once it reports draining.
    async fn drains(&self) {
        self.program.signal(Signal::TERM);
        eventually("the worker to drain", async || {
            let workers = self.bench.workers().await;
            workers.iter().any(|worker| worker.state == "draining").then_some(())
        })
        .await;
    }

    async fn queued(&mut self) -> usize {
        self.conn.llen(QUEUE).await.unwrap()
    }
}

/// Waits for the program's end; its exit code.
async fn code(program: Program) -> Option<i32> {
    tokio::task::spawn_blocking(|| program.wait()).await.unwrap().code()
}

/// A worker whose `held` answers at once.
async fn second(bench: &mut Bench) -> redcall_tests::RunningWorker {
    async fn at_once() -> Json<&'static str> {
        Json("second")
    }
    bench.worker_with(|worker: Worker| worker.handler("held", at_once)).await
}

#[tokio::test]
async fn one_signal_finishes_running_jobs_and_takes_no_new_ones() {
    let mut stage = Stage::new().await;
    let call = stage.call().await;
    stage.drains().await;
    stage.client.call("add", &json!({"a": 1, "b": 1})).await.unwrap();
    // It counts as alive while it drains: the call is queued, and ends with its own timeout, which
    // is time enough to be queued on a machine that stops processes for a moment.
    let waited = stage.client.request("add").timeout(Duration::from_secs(1)).wait().await;
    assert_eq!(waited.unwrap_err().code(), Code::DeadlineExceeded);
    stage.held.end();
    assert_eq!(call.await.unwrap().unwrap().data.get(), "null");
    assert_eq!(code(stage.program).await, Some(0));
    let left: usize = stage.conn.llen(QUEUE).await.unwrap();
    assert_eq!(left, 2);
    // It has left the registry, and nothing else; the call that ended was withdrawn.
    assert!(stage.bench.workers().await.is_empty());
    // Answers that were read are deleted a little later.
    stage.client.flush().await;
    let keys = keys(&mut stage.conn).await;
    let expected = |key: &String| {
        // The wait that was given up has left a tombstone.
        is_registry(key) || key == QUEUE || key.contains(":names") || key.ends_with(":cancelled")
    };
    assert!(keys.iter().all(expected), "{keys:?}");
    let _next = stage.bench.worker().await;
    eventually("the next worker to take both", async || {
        (stage.conn.llen::<_, usize>(QUEUE).await.unwrap() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_idle_worker_ends_at_once() {
    let mut stage = Stage::new().await;
    eventually("all pops to block", async || (blocked(&mut stage.conn).await == 3).then_some(()))
        .await;
    ends_at_once(stage.program, Signal::INT).await;
}

#[tokio::test]
async fn a_worker_that_has_just_started_ends_at_once() {
    // Its pops are in flight, and do not block yet, at one of these moments.
    for round_trips in [0, 2, 4, 8, 12, 16, 24] {
        let bench = Bench::new().await;
        let mut conn = bench.redis.connection().await;
        let program = Program::start("redcall-worker", &[], &bench.environment());
        // Without a pause: the exact moment matters here.
        while !conn.exists::<_, bool>("redcall:{low}:workers").await.unwrap() {}
        for _ in 0..round_trips {
            let () = conn.ping().await.unwrap();
        }
        ends_at_once(program, Signal::TERM).await;
    }
}

async fn ends_at_once(program: Program, signal: Signal) {
    let since = Instant::now();
    program.signal(signal);
    assert_eq!(code(program).await, Some(0));
    // A blocked pop of five seconds does not keep it.
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_gives_the_job_back() {
    let mut stage = Stage::new().await;
    let call = stage.call().await;
    stage.drains().await;
    assert_eq!(stage.queued().await, 0);
    stage.program.signal(Signal::TERM);
    let since = Instant::now();
    assert_eq!(code(stage.program).await, Some(0));
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert_eq!(stage.conn.llen::<_, usize>(QUEUE).await.unwrap(), 1);
    let _second = second(&mut stage.bench).await;
    assert_eq!(call.await.unwrap().unwrap().data.get(), r#""second""#);
}

#[tokio::test]
async fn drain_is_bounded_and_returns_the_remaining_jobs() {
    let mut stage = Stage::with(&[("REDCALL__WORKER__DRAIN_TIMEOUT", "300ms")]).await;
    let call = stage.call().await;
    stage.program.signal(Signal::TERM);
    let since = Instant::now();
    assert_eq!(code(stage.program).await, Some(0));
    assert!(since.elapsed() >= Duration::from_millis(300), "{:?}", since.elapsed());
    assert_eq!(stage.conn.llen::<_, usize>(QUEUE).await.unwrap(), 1);
    let _second = second(&mut stage.bench).await;
    assert_eq!(call.await.unwrap().unwrap().data.get(), r#""second""#);
}

#[tokio::test]
async fn a_killed_workers_job_is_taken_over_within_two_leases() {
    // Redis, three connections and two workers share the CPUs, and may be stopped for a moment.
    const MARGIN: Duration = Duration::from_millis(2500);
    // So long that a third lease would take longer than that.
    const LEASE: Duration = Duration::from_secs(3);
    let mut bench = Bench::new().await;
    bench.settings.worker.lease = LEASE;
    let mut stage = Stage::of(bench, &[("REDCALL__WORKER__LEASE", "3s")]).await;
    let call = stage.call().await;
    let _second = second(&mut stage.bench).await;
    stage.program.signal(Signal::KILL);
    let since = Instant::now();
    assert_eq!(call.await.unwrap().unwrap().data.get(), r#""second""#);
    let took = since.elapsed();
    assert!(took < 2 * LEASE + MARGIN, "{took:?}");
    let workers = stage.bench.workers().await;
    assert_eq!(workers.len(), 1, "{workers:?}");
    assert_eq!(code(stage.program).await, None);
}

#[tokio::test]
async fn a_killed_worker_alone_leaves_its_job_for_the_next_one() {
    let mut stage = Stage::new().await;
    let call = stage.call().await;
    stage.program.signal(Signal::KILL);
    assert_eq!(code(stage.program).await, None);
    let _next = second(&mut stage.bench).await;
    assert_eq!(call.await.unwrap().unwrap().data.get(), r#""second""#);
}

#[tokio::test]
async fn the_commands_of_a_worker_end_with_it() {
    let bench = Bench::new().await;
    let file = SettingsFile::new(
        "[jobs.long]\ncommand = ['sh', '-c', 'sleep 600 & echo $$ $! > pids; wait']",
    );
    let env = bench.environment();
    let program = Program::start("redcall-worker", &["--settings", file.arg()], &env);
    let client = bench.client().await;
    client.call("long", &Value::Null).await.unwrap();
    let pids: Vec<i32> = eventually("the command's processes", async || {
        let text = std::fs::read_to_string(file.dir().join("pids")).ok()?;
        text.ends_with('\n').then(|| text.split_whitespace().map(|n| n.parse().unwrap()).collect())
    })
    .await;
    assert!(pids.iter().all(|pid| is_running(*pid)), "{pids:?}");
    program.signal(Signal::TERM);
    eventually("the worker to drain", async || {
        bench.workers().await.iter().any(|worker| worker.state == "draining").then_some(())
    })
    .await;
    program.signal(Signal::TERM);
    assert_eq!(code(program).await, Some(0));
    eventually("the command to be gone", async || {
        pids.iter().all(|pid| !is_running(*pid)).then_some(())
    })
    .await;
}
