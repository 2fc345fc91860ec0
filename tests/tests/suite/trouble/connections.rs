//! Connections that break in every way that networks know, to clients and workers at once.

use std::time::{Duration, Instant};

use redcall_client::{CallError, Client, Code, Response};
use redcall_common::settings::Settings;
use redcall_testkit::{FaultProxy, Odds, eventually};
use redcall_tests::{Bench, RunningWorker};
use redis::AsyncCommands;
use serde_json::json;
use tokio::task::JoinHandle;

/// What a wait may last longer than its timeout.
const LATE: Duration = Duration::from_secs(1);

struct Stage {
    // First, since it takes its leave of a server that still runs.
    _worker: RunningWorker,
    client: Client,
    proxy: FaultProxy,
    bench: Bench,
}

impl Stage {
    /// A worker and a client behind one proxy. Silence is noticed after half a second.
    async fn new() -> Self {
        let mut bench = Bench::new().await;
        let proxy = FaultProxy::start(&bench.redis);
        bench.settings.redis = proxy.settings();
        bench.settings.redis.response_timeout = Duration::from_millis(500);
        let (worker, client) = (bench.worker().await, bench.client().await);
        Self { _worker: worker, client, proxy, bench }
    }

    /// Calls `sleep` so often, with this timeout each.
    fn calls(
        &self,
        count: usize,
        timeout: Duration,
    ) -> Vec<JoinHandle<Result<Response, CallError>>> {
        let call = |_| {
            let call = self.client.request("sleep").data(&json!({"ms": 50})).timeout(timeout);
            tokio::spawn(async move {
                let since = Instant::now();
                let ended = call.wait().await;
                let took = since.elapsed();
                assert!(took < timeout + LATE, "a wait of {timeout:?} ended after {took:?}");
                ended
            })
        };
        (0..count).map(call).collect()
    }

    /// One of the calls has been answered: the others are on their way.
    async fn under_load(&self, count: usize) -> Vec<JoinHandle<Result<Response, CallError>>> {
        let calls = self.calls(count, Duration::from_secs(10));
        eventually("the first answer", async || {
            calls.iter().any(JoinHandle::is_finished).then_some(())
        })
        .await;
        calls
    }

    /// Every call was answered, or its request was on its way when the connection broke.
    async fn all_end(&self, calls: Vec<JoinHandle<Result<Response, CallError>>>) {
        let count = calls.len();
        let mut answered = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(_) => answered += 1,
                Err(CallError::Unknown { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(answered * 2 > count, "only {answered} of {count} were answered");
    }

    /// Calls are answered again, within a second.
    async fn goes_on(&self) {
        let since = Instant::now();
        eventually("an answer", async || {
            self.client.request("echo").data(&1).timeout(LATE).wait().await.ok()
        })
        .await;
        assert!(since.elapsed() < LATE, "the first answer came after {:?}", since.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_under_load_twenty_times() {
    let stage = Stage::new().await;
    for _ in 0..20 {
        let calls = stage.under_load(100).await;
        stage.proxy.cut().await;
        stage.all_end(calls).await;
    }
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_under_load() {
    let stage = Stage::new().await;
    for _ in 0..3 {
        let calls = stage.under_load(100).await;
        stage.proxy.silence();
        stage.all_end(calls).await;
        stage.goes_on().await;
        stage.proxy.cut().await;
        // Else the next ones could all be on their way while it connects.
        stage.goes_on().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_closed_under_load() {
    let stage = Stage::new().await;
    for _ in 0..5 {
        let calls = stage.under_load(100).await;
        stage.proxy.half_close();
        stage.all_end(calls).await;
    }
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_for_a_while() {
    let stage = Stage::new().await;
    stage.proxy.delay(Duration::from_millis(200));
    for call in stage.calls(100, Duration::from_secs(10)) {
        call.await.unwrap().unwrap();
    }
    stage.proxy.pass();
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_slow_that_no_reply_comes_in_time() {
    let stage = Stage::new().await;
    stage.proxy.delay(Duration::from_secs(2));
    for call in stage.calls(20, Duration::from_millis(300)) {
        let error = call.await.unwrap().unwrap_err();
        assert!(matches!(error.code(), Code::DeadlineExceeded | Code::Unavailable), "{error}");
    }
    stage.proxy.pass();
    stage.proxy.cut().await;
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_pieces_together_and_throttled() {
    let stage = Stage::new().await;
    stage.proxy.split(3);
    stage.proxy.merge(Duration::from_millis(5));
    for call in stage.calls(100, Duration::from_secs(10)) {
        call.await.unwrap().unwrap();
    }
    stage.proxy.pass();
    stage.proxy.throttle(100_000);
    for call in stage.calls(100, Duration::from_secs(10)) {
        call.await.unwrap().unwrap();
    }
    stage.proxy.pass();
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_lost_late_and_in_pieces_by_chance() {
    let stage = Stage::new().await;
    let odds = Odds {
        lose_one_in: 200,
        delay_one_in: 10,
        delay_up_to: Duration::from_millis(20),
        split_one_in: 5,
    };
    stage.proxy.misbehave(4, odds);
    for _ in 0..5 {
        let calls = stage.calls(100, Duration::from_secs(10));
        stage.all_end(calls).await;
    }
    stage.proxy.pass();
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_for_a_while() {
    let stage = Stage::new().await;
    stage.proxy.refuse();
    stage.proxy.cut().await;
    for call in stage.calls(20, Duration::from_millis(300)) {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!((error.code(), error.may_be_queued()), (Code::Unavailable, false), "{error}");
    }
    stage.proxy.pass();
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_late_on_a_connection_that_was_given_up_is_not_carried_out() {
    let stage = Stage::new().await;
    let mut conn = stage.bench.redis.connection().await;
    let aside = || stage.client.request("echo").queue("aside");
    stage.goes_on().await;
    aside().send().await.unwrap();
    stage.proxy.detain();
    let error = aside().send().await.unwrap_err();
    assert!(matches!(error, CallError::Unknown { .. }), "{error}");
    // Whoever hears that it may be queued looks, or calls again; from then on it must not come.
    aside().send().await.unwrap();
    stage.goes_on().await;
    let queue = "redcall:{aside}:queue";
    assert_eq!(conn.llen::<_, usize>(queue).await.unwrap(), 2);
    stage.proxy.deliver().await;
    assert_eq!(conn.llen::<_, usize>(queue).await.unwrap(), 2);
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_asked_for_on_a_connection_that_was_given_up_comes_to_nothing() {
    let stage = Stage::new().await;
    let mut conn = stage.bench.redis.connection().await;
    let direct = Settings { redis: stage.bench.redis.settings(), ..stage.bench.settings.clone() };
    let direct = Client::from_settings(&direct).await.unwrap();
    let calls = stage.under_load(100).await;
    stage.proxy.detain();
    // Its turns are kept back, and it connects anew; nobody else could do this.
    let echo = direct.request("echo").data(&1).timeout(Duration::from_secs(10));
    assert_eq!(echo.wait().await.unwrap().data.get(), "1");
    stage.proxy.deliver().await;
    stage.all_end(calls).await;
    stage.goes_on().await;
    eventually("all leases to be gone", async || {
        (!conn.exists::<_, bool>("redcall:{default}:live").await.unwrap()).then_some(())
    })
    .await;
}
