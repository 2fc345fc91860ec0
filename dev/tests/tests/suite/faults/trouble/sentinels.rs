//! The primary is lost, and Sentinels make its replica the primary.

use std::time::{Duration, Instant};

use redcall_client::{CallError, Client};
use redcall_common::settings::Settings;
use redcall_testkit::{FakeSentinel, FaultProxy, ReplicatedRedis, eventually};
use redcall_tests::Bench;
use rustix::process::{Pid, Signal, kill_process};

use crate::operation::probes::Served;
use crate::support::SOON;

struct Stage {
    // First, since it takes its leave of servers that still run.
    worker: Served,
    client: Client,
    redis: ReplicatedRedis,
}

impl Stage {
    async fn new() -> Self {
        let redis = ReplicatedRedis::start().await;
        let settings = Settings { redis: redis.settings(), ..Settings::default() };
        let client = Client::from_settings(&settings).await.unwrap();
        let env = [
            ("REDIS_URL", settings.redis.url.as_str()),
            ("REDCALL__WORKER__LEASE", "500ms"),
            ("REDCALL__JOBS__ECHO__HANDLER", "builtin:echo"),
        ];
        let env = env.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let worker = Served::start("redcall-worker", env).await;
        worker.becomes(200).await;
        assert_eq!(client.call_and_wait("echo", "first").await.unwrap().data.get(), "\"first\"");
        Self { worker, client, redis }
    }

    /// The worker is not ready until the failover; soon after it, it is, and calls go through. The
    /// waits over it ended.
    async fn goes_on(&self, waiting: Vec<tokio::task::JoinHandle<Result<(), CallError>>>) {
        self.worker.becomes(503).await;
        self.redis.is_primary(1).await;
        let since = Instant::now();
        let answered = eventually("a call to be answered", async || {
            let call = self.client.request("echo").data(&1).timeout(SOON);
            call.wait().await.ok().map(|_| since.elapsed())
        });
        let ready = async {
            self.worker.becomes(200).await;
            since.elapsed()
        };
        let (answered, ready) = tokio::join!(answered, ready);
        assert!(answered < SOON, "the first answer came {answered:?} after the failover");
        assert!(ready < SOON, "the worker was ready {ready:?} after the failover");
        for wait in waiting {
            match wait.await.unwrap() {
                // In flight when the primary was lost, or not replicated yet.
                Ok(()) | Err(CallError::Unknown { .. } | CallError::TimedOut) => {}
                Err(error) => panic!("{error}"),
            }
        }
        // Admin queries go to the new one as well.
        assert_eq!(self.client.inspect().workers().await.unwrap().len(), 1);
    }

    fn calls(&self) -> Vec<tokio::task::JoinHandle<Result<(), CallError>>> {
        let call = |n: usize| {
            let call = self.client.request("echo").data(&n).timeout(Duration::from_secs(10));
            tokio::spawn(async move { call.wait().await.map(drop) })
        };
        (0..50).map(call).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_follows_a_dead_primary() {
    let mut stage = Stage::new().await;
    let waiting = stage.calls();
    stage.redis.kill(0);
    stage.goes_on(waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_follows_a_stalled_primary() {
    let stage = Stage::new().await;
    let waiting = stage.calls();
    let pid = i32::try_from(stage.redis.pid(0)).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    stage.goes_on(waiting).await;
}

#[tokio::test]
async fn a_service_that_the_sentinels_do_not_know_is_named() {
    let redis = ReplicatedRedis::start().await;
    let mut settings = redis.settings();
    settings.url = settings.url.replace("/main", "/other");
    let settings = Settings { redis: settings, ..Settings::default() };
    let error = Client::from_settings(&settings).await.map(drop).unwrap_err();
    assert_eq!(error.to_string(), "no Sentinel names a primary of `other`");
}

#[tokio::test]
async fn sentinel_with_the_latest_failover_is_believed() {
    let bench = Bench::new().await;
    let proxy = FaultProxy::start(&bench.redis);
    let port: u16 = proxy.url().rsplit(':').next().unwrap().parse().unwrap();
    // Cut off from the others before the failover: its primary is gone.
    let stale = FakeSentinel::start(3, 1).await;
    let current = FakeSentinel::start(4, port).await;
    for nodes in [[&stale, &current], [&current, &stale]] {
        let mut settings = bench.settings.clone();
        let [first, second] = nodes.map(FakeSentinel::address);
        settings.redis.url = format!("redis+sentinel://{first},{second}/main");
        let client = Client::from_settings(&settings).await.unwrap();
        client.call("echo", &1).await.unwrap();
    }
}
