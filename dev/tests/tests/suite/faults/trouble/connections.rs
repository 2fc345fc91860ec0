//! Connections that break in every way that networks know, to clients and workers at once.

use std::time::{Duration, Instant};

use redcall_client::{CallError, Client, Code, Response};
use redcall_common::settings::Settings;
use redcall_testkit::{FaultProxy, HeldRequest, Odds, eventually};
use redcall_tests::{Bench, RunningWorker};
use redis::AsyncCommands;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::requests::still::Still;
use crate::support::{LIVE, QUEUE, blocked};

/// The permitted excess of a wait over its timeout, and the time limit for recovery: a second, as
/// promised, and two for a machine that stops its processes meanwhile.
const LATE: Duration = Duration::from_secs(3);

struct Stage {
    // First, since it takes its leave of a server that still runs.
    _worker: RunningWorker,
    client: Client,
    proxy: FaultProxy,
    bench: Bench,
}

/// Later connections go through the proxy, and notice silence after a second: longer than a machine
/// stops a process that is expected to answer.
fn put_behind_a_proxy(bench: &mut Bench) -> FaultProxy {
    let proxy = FaultProxy::start(&bench.redis);
    bench.settings.redis = proxy.settings();
    bench.settings.redis.response_timeout = Duration::from_secs(1);
    proxy
}

impl Stage {
    /// A worker and a client behind one proxy.
    async fn new() -> Self {
        let mut bench = Bench::new().await;
        let proxy = put_behind_a_proxy(&mut bench);
        let (worker, client) = (bench.worker().await, bench.client().await);
        Self { _worker: worker, client, proxy, bench }
    }

    /// Calls `sleep` `count` times, with this timeout each.
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

    /// One of the calls has been answered: the others are in flight.
    async fn under_load(&self, count: usize) -> Vec<JoinHandle<Result<Response, CallError>>> {
        let calls = self.calls(count, Duration::from_secs(10));
        eventually("the first answer", async || {
            calls.iter().any(JoinHandle::is_finished).then_some(())
        })
        .await;
        calls
    }

    /// Every call was answered, or its request was in flight when the connection broke.
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

    /// Calls are answered again, in time.
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
        // Otherwise the next ones could all be in flight while it connects.
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
async fn late_command_of_a_dropped_connection_is_not_executed() {
    let stage = Stage::new().await;
    let mut conn = stage.bench.redis.connection().await;
    let aside = || stage.client.request("echo").queue("aside");
    stage.goes_on().await;
    aside().send().await.unwrap();
    stage.proxy.detain();
    let error = aside().send().await.unwrap_err();
    assert!(matches!(error, CallError::Unknown { .. }), "{error}");
    // A caller that learns that it may be queued checks, or calls again; from then on it must not
    // come.
    aside().send().await.unwrap();
    stage.goes_on().await;
    let queue = "redcall:{aside}:queue";
    assert_eq!(conn.llen::<_, usize>(queue).await.unwrap(), 2);
    stage.proxy.deliver().await;
    assert_eq!(conn.llen::<_, usize>(queue).await.unwrap(), 2);
    stage.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_poll_of_a_dropped_connection_has_no_effect() {
    let stage = Stage::new().await;
    let mut conn = stage.bench.redis.connection().await;
    let direct = Settings { redis: stage.bench.redis.settings(), ..stage.bench.settings.clone() };
    let direct = Client::from_settings(&direct).await.unwrap();
    let calls = stage.under_load(100).await;
    stage.proxy.detain();
    // Its polls are kept back, and it reconnects; no other worker could do this.
    let echo = direct.request("echo").data(&1).timeout(Duration::from_secs(10));
    assert_eq!(echo.wait().await.unwrap().data.get(), "1");
    stage.proxy.deliver().await;
    stage.all_end(calls).await;
    stage.goes_on().await;
    eventually("all leases to be gone", async || {
        (!conn.exists::<_, bool>(LIVE).await.unwrap()).then_some(())
    })
    .await;
}

/// A worker behind a proxy, and a client that is not.
struct Distant {
    // First, since it takes its leave of a server that still runs.
    worker: RunningWorker,
    client: Client,
    proxy: FaultProxy,
    bench: Bench,
}

impl Distant {
    /// The worker waits in a blocked pop.
    async fn new() -> Self {
        let mut bench = Bench::new().await;
        bench.settings.worker.queues = vec!["default".to_owned()];
        bench.settings.worker.concurrency = 2;
        let client = bench.client().await;
        let proxy = put_behind_a_proxy(&mut bench);
        let (worker, mut conn) = (bench.worker().await, bench.redis.connection().await);
        eventually("the worker to be idle", async || (blocked(&mut conn).await == 1).then_some(()))
            .await;
        Self { worker, client, proxy, bench }
    }

    fn call(&self) -> JoinHandle<Result<Response, CallError>> {
        let call = self.client.request("sleep").data(&json!({"ms": 20}));
        tokio::spawn(call.wait())
    }

    /// Requests wait in the queue while the late one arrives; each is answered, and none stays
    /// leased.
    async fn leases_nothing(&self, late: HeldRequest) {
        let mut conn = self.bench.redis.connection().await;
        let calls: Vec<_> = (0..100).map(|_| self.call()).collect();
        eventually("a backlog", async || {
            (conn.llen::<_, usize>(QUEUE).await.unwrap() > 20).then_some(())
        })
        .await;
        let is_answered = late.deliver().await;
        for call in calls {
            call.await.unwrap().unwrap();
        }
        eventually("every lease to be settled", async || {
            (!conn.exists::<_, bool>(LIVE).await.unwrap()).then_some(())
        })
        .await;
        assert!(!is_answered, "Redis had not closed the connection that was given up");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_arrives_late_leases_nothing() {
    let distant = Distant::new().await;
    // After a settlement there are slots to fill again.
    let held = distant
        .proxy
        .hold_request(|request| request.request_contains("\"type\":\"result\",\"seq\""));
    let calls: Vec<_> = (0..10).map(|_| distant.call()).collect();
    let late = held.await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    distant.leases_nothing(late).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_pop_that_arrives_late_leases_nothing() {
    let distant = Distant::new().await;
    let held = distant.proxy.hold_request(|request| request.request_contains("BLMOVE"));
    // The pop that is out is served, and the next one is held.
    distant.call().await.unwrap().unwrap();
    let late = held.await;
    // Another connection that is lost speaks against this one too.
    let heartbeat = distant.proxy.hold_request(|request| request.request_contains("started_at"));
    let heartbeat = heartbeat.await;
    distant.call().await.unwrap().unwrap();
    assert!(!heartbeat.deliver().await, "Redis had not closed the connection of heartbeats");
    distant.leases_nothing(late).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pop_that_arrives_after_its_worker_has_left_takes_nothing() {
    let distant = Distant::new().await;
    let held = distant.proxy.hold_request(|request| request.request_contains("BLMOVE"));
    distant.call().await.unwrap().unwrap();
    let late = held.await;
    let Distant { worker, client, proxy: _proxy, bench } = distant;
    // It does not wait for a request of its pop.
    drop(worker);
    let mut still = Still { conn: bench.redis.connection().await, client, bench };
    crate::support::seems_served(&mut still.conn, "default").await;
    still.client.call("sleep", &json!({"ms": 1})).await.unwrap();
    let is_answered = late.deliver().await;
    still.queued(1).await;
    assert!(!is_answered, "Redis had not closed the connection of the pop");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_queries_to_a_silent_redis_end_within_the_timeout() {
    let mut bench = Bench::new().await;
    let proxy = put_behind_a_proxy(&mut bench);
    let client = bench.client().await;
    let bound = bench.settings.redis.response_timeout + LATE;
    client.call("echo", &1).await.unwrap();
    // First without a connection, then with those that the queries before have opened.
    for _ in 0..2 {
        proxy.hold_replies();
        // More than there are connections.
        let request_contains = (0..5).map(async |n| {
            let since = Instant::now();
            let inspect = client.inspect();
            let error = match n % 2 {
                0 => inspect.queues().await.map(drop).unwrap_err(),
                _ => inspect.workers().await.map(drop).unwrap_err(),
            };
            (since.elapsed(), error)
        });
        for (took, error) in futures_util::future::join_all(request_contains).await {
            assert!(took < bound, "it took {took:?} to return: {error}");
        }
        proxy.pass();
        let request_contains =
            (0..2).map(async |_| client.inspect().queues().await.unwrap()[0].length);
        assert_eq!(futures_util::future::join_all(request_contains).await, [1, 1]);
    }
}
