//! Requests that run in a worker's lane: their place in its lane inbox is their lease.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use redcall_client::Code;
use redcall_testkit::eventually;
use redcall_tests::{Bench, LEASE, RunningWorker};
use redcall_worker::{HandlerError, Json, Request, State};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use crate::life::{connection, dead_letter, keys, nothing_is_left};
use crate::support::carried_out;
use crate::support::held::Held;

/// The worker's id.
async fn worker_id(conn: &mut MultiplexedConnection) -> String {
    let ids: Vec<String> = conn.zrange(keys().workers(), 0, -1).await.unwrap();
    ids.into_iter().next().unwrap()
}

/// The numbers of leases and of requests in the lane inboxes of the only worker.
async fn places(conn: &mut MultiplexedConnection) -> (usize, usize) {
    let id = worker_id(conn).await;
    let leases: usize = conn.hlen(keys().leases(&id)).await.unwrap();
    let mut young = 0;
    for number in [0, 1] {
        young += conn.llen::<_, usize>(keys().lane_inbox(&id, number)).await.unwrap();
    }
    (leases, young)
}

/// Waits until the worker is idle: its lane pops.
async fn is_idle(conn: &mut MultiplexedConnection) {
    eventually("the lane to pop", async || {
        let list: String = redis::cmd("CLIENT").arg("LIST").query_async(conn).await.unwrap();
        list.lines().any(|line| line.contains(" cmd=blmove ")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn plain_call_is_settled_by_one_script() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let mut conn = connection(&bench).await;
    is_idle(&mut conn).await;
    let before = carried_out(&mut conn, "evalsha").await;
    for n in 0..20 {
        let answer = client.call_and_wait("echo", &n).await.unwrap();
        assert_eq!(answer.json::<u32>().unwrap(), n);
    }
    let scripts = carried_out(&mut conn, "evalsha").await - before;
    // A heartbeat, and a poll at the end of the lane's time, may come in between.
    assert!((20..=30).contains(&scripts), "{scripts} scripts for 20 calls");
    assert_eq!(places(&mut conn).await, (0, 0));
}

#[tokio::test]
async fn job_that_runs_longer_than_a_millisecond_gets_a_lease() {
    let bench = Bench::new().await;
    let held = Held::new();
    let _worker = bench.worker_with(|worker| held.on(worker)).await;
    let client = bench.client().await;
    let mut conn = connection(&bench).await;
    is_idle(&mut conn).await;
    let ticket = client.request("held").submit().await.unwrap();
    held.run(1).await;
    eventually("a lease", async || (places(&mut conn).await == (1, 0)).then_some(())).await;
    held.end(1);
    ticket.wait().await.unwrap();
    nothing_is_left(&mut conn).await;
    assert_eq!(places(&mut conn).await, (0, 0));
}

/// A handler that fails at once becomes a dead letter, as by a real lease.
#[tokio::test]
async fn young_job_that_fails_is_adopted_and_dead_lettered() {
    async fn fails() -> Result<(), HandlerError> {
        Err(HandlerError::new("no"))
    }
    let bench = Bench::new().await;
    let _worker = bench.worker_with(|worker| worker.handler("fails", fails)).await;
    let client = bench.client().await;
    let mut conn = connection(&bench).await;
    is_idle(&mut conn).await;
    let receipt = client.request("fails").send().await.unwrap();
    let letter = dead_letter(&mut conn).await;
    assert_eq!((&letter["id"], letter["code"].as_str()), (&receipt.id, "handler_failed"));
    assert_eq!(places(&mut conn).await, (0, 0));
    nothing_is_left(&mut conn).await;
}

/// A handler may answer, and continue.
#[tokio::test]
async fn young_job_that_answers_before_its_end_is_adopted_first() {
    async fn early(request: Request, held: State<Held>) -> Result<(), HandlerError> {
        assert!(request.respond("early").await?);
        held.run_in_handler().await;
        Ok(())
    }
    let bench = Bench::new().await;
    let held = Held::new();
    let _worker = bench.worker_with(|worker| held.on(worker).handler("early", early)).await;
    let client = bench.client().await;
    let mut conn = connection(&bench).await;
    is_idle(&mut conn).await;
    let answer = client.call_and_wait("early", &()).await.unwrap();
    assert_eq!(answer.json::<String>().unwrap(), "early");
    held.end(1);
    eventually("its end", async || (places(&mut conn).await == (0, 0)).then_some(())).await;
}

/// Two queues and one slot: the lanes of both share it.
#[tokio::test]
async fn lanes_of_several_queues_share_the_capacity() {
    #[derive(Default)]
    struct Counted {
        now: AtomicUsize,
        max: AtomicUsize,
    }
    async fn counts(counted: State<Arc<Counted>>) {
        let now = counted.now.fetch_add(1, Ordering::SeqCst) + 1;
        counted.max.fetch_max(now, Ordering::SeqCst);
        tokio::task::yield_now().await;
        counted.now.fetch_sub(1, Ordering::SeqCst);
    }
    let mut bench = Bench::new().await;
    bench.settings.worker.queues = vec!["first".to_owned(), "second".to_owned()];
    bench.settings.worker.concurrency = 1;
    let counted = Arc::new(Counted::default());
    let state = counted.clone();
    let _worker = bench.worker_with(|worker| worker.state(state).handler("counts", counts)).await;
    let client = bench.client().await;
    let calls = (0..200).map(|n| {
        let queue = if n % 2 == 0 { "first" } else { "second" };
        let client = client.clone();
        async move { client.request("counts").queue(queue).wait().await }
    });
    for answer in join_all(calls).await {
        answer.unwrap();
    }
    assert_eq!(counted.max.load(Ordering::SeqCst), 1);
}

/// A switch that blocks threads.
#[derive(Clone, Default)]
struct Blocked(Arc<(Mutex<bool>, Condvar)>);

impl Blocked {
    fn wait(&self) {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

async fn blocks(request: Request, blocked: State<Blocked>) -> Json<u32> {
    blocked.wait();
    Json(request.attempt())
}

async fn with_blocked(bench: &Bench) -> (RunningWorker, Blocked) {
    let blocked = Blocked::default();
    let state = blocked.clone();
    let worker = bench.worker_with(|worker| worker.state(state).handler("blocks", blocks)).await;
    (worker, blocked)
}

/// Its thread runs the lane, too: the I/O thread takes over.
#[tokio::test]
async fn handler_that_blocks_the_lane_keeps_its_lease_and_delays_no_other() {
    let bench = Bench::new().await;
    let (_worker, blocked) = with_blocked(&bench).await;
    let client = bench.client().await;
    let mut conn = connection(&bench).await;
    is_idle(&mut conn).await;
    let ticket = client.request("blocks").submit().await.unwrap();
    eventually("a lease", async || (places(&mut conn).await == (1, 0)).then_some(())).await;
    let calls = (0..100).map(|n| {
        let client = client.clone();
        async move { client.call_and_wait("echo", &n).await }
    });
    for (n, answer) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap().json::<usize>().unwrap(), n);
    }
    assert_eq!(places(&mut conn).await, (1, 0));
    blocked.open();
    assert_eq!(ticket.wait().await.unwrap().json::<u32>().unwrap(), 1, "the first run has ended");
    // The lane works again.
    is_idle(&mut conn).await;
    client.call_and_wait("echo", &1).await.unwrap();
    nothing_is_left(&mut conn).await;
}

/// A handler that computes for three leases, beside calls on the same queue: 1,000 a second in the
/// long form, which prints their times and judges them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handler_that_spins_for_three_leases_keeps_its_lease() {
    async fn spins(request: Request) -> Json<u32> {
        let began = Instant::now();
        while began.elapsed() < 3 * LEASE {
            std::hint::spin_loop();
        }
        Json(request.attempt())
    }
    let is_long = std::env::var_os("REDCALL_TEST_LONG").is_some();
    let per_second = if is_long { 1000 } else { 20 };
    let bench = Bench::new().await;
    let _worker = bench.worker_with(|worker| worker.handler("spins", spins)).await;
    let client = bench.client().await;
    is_idle(&mut connection(&bench).await).await;
    let spinning = client.request("spins").timeout(10 * LEASE).submit().await.unwrap();
    let answer = tokio::spawn(async move { spinning.wait().await });
    let mut pace = tokio::time::interval(Duration::from_secs(1) / per_second);
    let mut calls = Vec::new();
    while !answer.is_finished() {
        pace.tick().await;
        let client = client.clone();
        calls.push(tokio::spawn(async move {
            let began = Instant::now();
            client.call_and_wait("echo", &1).await.unwrap();
            began.elapsed()
        }));
    }
    // Had its lease been lost, another run would have answered.
    assert_eq!(answer.await.unwrap().unwrap().json::<u32>().unwrap(), 1);
    let mut times = Vec::new();
    for call in calls {
        times.push(call.await.unwrap());
    }
    times.sort();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("{} calls beside it: p50 {p50:?}, p99 {p99:?}", times.len());
    assert!(!is_long || p99 < Duration::from_millis(60), "{p99:?}");
}

/// Its timeout, and a cancellation, end it as any other.
#[tokio::test]
async fn handler_that_blocks_the_lane_is_answered_at_its_timeout() {
    let bench = Bench::new().await;
    let (_worker, blocked) = with_blocked(&bench).await;
    let client = bench.client().await;
    is_idle(&mut connection(&bench).await).await;
    let request = client.request("blocks").timeout(Duration::from_secs(1));
    assert_eq!(request.wait().await.unwrap_err().code(), Code::DeadlineExceeded);
    blocked.open();
}
