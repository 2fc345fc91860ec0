//! Cancelled calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redcall_client::{Client, Code};
use redcall_testkit::eventually;
use redcall_tests::{Bench, RunningWorker};
use redcall_worker::{Json, Request, State};
use redis::AsyncCommands;
use serde_json::json;

use super::{connection, keys};
use crate::support::{AT_ONCE, is_running};

/// A bench whose workers learn of a cancellation by its message alone.
async fn without_heartbeats() -> Bench {
    let mut bench = Bench::new().await;
    bench.settings.worker.lease = Duration::from_secs(600);
    bench
}

/// How many runs of a handler there are at the moment, and how many there were.
#[derive(Clone, Default)]
struct Count(Arc<(AtomicUsize, AtomicUsize)>);

/// One run, while it lasts.
struct Run(Count);

impl Count {
    fn enter(&self) -> Run {
        self.0.0.fetch_add(1, Ordering::SeqCst);
        self.0.1.fetch_add(1, Ordering::SeqCst);
        Run(self.clone())
    }

    fn now(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    fn ever(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }

    async fn are(&self, count: usize) {
        eventually("so many to run", async || (self.now() == count).then_some(())).await;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn forever(count: State<Count>) {
    let _run = count.enter();
    std::future::pending::<()>().await;
}

async fn worker(bench: &Bench, count: &Count) -> RunningWorker {
    let count = count.clone();
    bench.worker_with(|worker| worker.state(count).handler("forever", forever)).await
}

#[tokio::test]
async fn a_thousand_dropped_waits_leave_nothing_that_runs_or_starts() {
    let mut bench = without_heartbeats().await;
    bench.settings.worker.concurrency = 100;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    bench.command("child", &["sh", "-c", &format!("echo $$ >> {path}; exec sleep 600")]);
    let count = Count::default();
    let _worker = worker(&bench, &count).await;
    let client = bench.client().await;
    let waiting = tokio::spawn(async move {
        let name = |n| if n < 10 { "child" } else { "forever" };
        let requests = (0..1000).map(|n| client.request(name(n)));
        client.wait_many(requests).await
    });
    count.are(90).await;
    let children: Vec<i32> = eventually("the commands to run", async || {
        let text = std::fs::read_to_string(path).unwrap();
        let children: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        (children.len() == 10).then_some(children)
    })
    .await;
    let mut conn = connection(&bench).await;
    eventually("all to be queued", async || {
        (conn.llen::<_, usize>(keys().queue()).await.unwrap() == 900).then_some(())
    })
    .await;
    waiting.abort();
    let since = Instant::now();
    count.are(0).await;
    // Those that wait die at the head: none of them is started.
    eventually("the queue to be empty", async || {
        let left: usize = conn.exists(&[keys().queue(), keys().live()]).await.unwrap();
        (left == 0).then_some(())
    })
    .await;
    eventually("the children to end", async || {
        (!children.iter().any(|child| is_running(*child))).then_some(())
    })
    .await;
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
    assert_eq!((count.now(), count.ever()), (0, 90));
    // The rest expires.
    for key in crate::support::keys(&mut conn).await {
        let ttl: i64 = conn.pttl(&key).await.unwrap();
        assert!(ttl > 0, "{key} has no TTL");
    }
}

#[tokio::test]
async fn a_command_and_its_children_end_with_their_call() {
    let mut bench = without_heartbeats().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    bench.command("children", &["sh", "-c", &format!("sleep 600 & echo $! > {path}; sleep 600")]);
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let waiting = tokio::spawn(async move { client.call_and_wait("children", &()).await });
    let pid: i32 = eventually("the child to be started", async || {
        std::fs::read_to_string(path).unwrap().trim().parse().ok()
    })
    .await;
    assert!(is_running(pid));
    waiting.abort();
    let since = Instant::now();
    eventually("the child to end", async || (!is_running(pid)).then_some(())).await;
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
}

/// A command that notes its process id and each SIGTERM, and then continues.
async fn ends(script: &str, grace: Duration) -> (String, i32) {
    let mut bench = Bench::new().await;
    bench.settings.worker.cancel_grace = grace;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    bench.command("long", &["sh", "-c", &script.replace("FILE", path)]);
    let _worker = bench.worker().await;
    let ticket = bench.client().await.request("long").submit().await.unwrap();
    let output = || std::fs::read_to_string(path).unwrap();
    let pid: i32 = eventually("the command to print its process id", async || {
        output().lines().next()?.parse().ok()
    })
    .await;
    ticket.cancel().await.unwrap();
    assert_eq!(ticket.wait().await.unwrap_err().code(), Code::Cancelled);
    eventually("the command to end", async || (!is_running(pid)).then_some(())).await;
    (output(), pid)
}

#[tokio::test]
async fn cancelled_command_can_clean_up() {
    let script =
        "trap 'echo tidied >> FILE; exit' TERM; echo $$ >> FILE; while :; do sleep 0.01; done";
    let (output, pid) = ends(script, Duration::from_secs(60)).await;
    assert_eq!(output, format!("{pid}\ntidied\n"));
}

#[tokio::test]
async fn a_command_that_ignores_its_end_is_killed_after_the_grace() {
    let script = "trap 'echo no >> FILE' TERM; echo $$ >> FILE; while :; do sleep 0.01; done";
    // As long as a busy machine may need to deliver the signal to the shell.
    let (output, pid) = ends(script, Duration::from_secs(2)).await;
    assert_eq!(output, format!("{pid}\nno\n"));
}

#[tokio::test]
async fn waiting_caller_of_a_cancelled_call_is_notified() {
    let mut bench = Bench::new().await;
    bench.settings.worker.concurrency = 1;
    let count = Count::default();
    let _worker = worker(&bench, &count).await;
    let client = bench.client().await;
    let submit = async || client.request("forever").submit().await.unwrap();
    let (running, queued) = (submit().await, submit().await);
    count.are(1).await;
    // By id alone, as another client would.
    client.cancel(&queued.id).await.unwrap();
    client.cancel(&running.id).await.unwrap();
    for ticket in [&running, &queued] {
        assert_eq!(ticket.wait().await.unwrap_err().code(), Code::Cancelled);
    }
    count.are(0).await;
    assert_eq!(count.ever(), 1);
}

#[tokio::test]
async fn lost_cancel_message_is_recovered_by_the_heartbeat() {
    let bench = Bench::new().await;
    let count = Count::default();
    let _worker = worker(&bench, &count).await;
    let client = bench.client().await;
    let ticket = client.request("forever").submit().await.unwrap();
    count.are(1).await;
    // A tombstone without a notification.
    let mut conn = connection(&bench).await;
    let () = conn.zadd(keys().cancelled(), &ticket.id, 9e15).await.unwrap();
    assert_eq!(ticket.wait().await.unwrap_err().code(), Code::Cancelled);
}

#[tokio::test]
async fn a_handler_that_listens_ends_in_its_own_way() {
    async fn tidy(request: Request, count: State<Count>) {
        let run = count.enter();
        request.cancelled().await;
        // It may continue to await, to clean up.
        super::works(Duration::from_millis(20)).await;
        count.0.1.fetch_add(10, Ordering::SeqCst);
        drop(run);
    }
    let bench = Bench::new().await;
    let count = Count::default();
    let state = count.clone();
    let _worker = bench.worker_with(|worker| worker.state(state).handler("tidy", tidy)).await;
    let client = bench.client().await;
    let ticket = client.request("tidy").submit().await.unwrap();
    count.are(1).await;
    ticket.cancel().await.unwrap();
    assert_eq!(ticket.wait().await.unwrap_err().code(), Code::Cancelled);
    count.are(0).await;
    assert_eq!(count.ever(), 11);
}

#[tokio::test]
async fn one_that_listens_and_does_not_end_is_dropped_after_its_grace() {
    async fn deaf(request: Request, count: State<Count>) {
        let _run = count.enter();
        request.cancelled().await;
        std::future::pending::<()>().await;
    }
    let mut bench = Bench::new().await;
    bench.settings.worker.cancel_grace = Duration::from_millis(100);
    let count = Count::default();
    let state = count.clone();
    let _worker = bench.worker_with(|worker| worker.state(state).handler("deaf", deaf)).await;
    let ticket = bench.client().await.request("deaf").submit().await.unwrap();
    count.are(1).await;
    ticket.cancel().await.unwrap();
    count.are(0).await;
}

/// Calls `forever` with the client that it shares, and waits.
async fn nested(client: State<Client>, count: State<Count>) -> Json<String> {
    let _run = count.enter();
    let inner = client.request("forever").timeout(Duration::from_secs(60)).wait().await;
    Json(inner.unwrap_err().code().to_string())
}

async fn nesting(bench: &Bench, count: &Count) -> (RunningWorker, Client) {
    let (client, state) = (bench.client().await, count.clone());
    let shared = client.clone();
    let build = |worker: redcall_worker::Worker| {
        let worker = worker.state(shared).state(state);
        worker.handler("nested", nested).handler("forever", forever)
    };
    (bench.worker_with(build).await, client)
}

#[tokio::test]
async fn nested_calls_are_cancelled_with_their_caller() {
    let bench = Bench::new().await;
    let count = Count::default();
    let (_worker, client) = nesting(&bench, &count).await;
    let ticket = client.request("nested").submit().await.unwrap();
    count.are(2).await;
    ticket.cancel().await.unwrap();
    count.are(0).await;
}

#[tokio::test]
async fn nested_calls_inherit_the_remaining_time() {
    let bench = Bench::new().await;
    let count = Count::default();
    let (_worker, client) = nesting(&bench, &count).await;
    let since = Instant::now();
    // Time enough to start both on a machine that stops processes for a moment.
    let call = client.request("nested").timeout(Duration::from_secs(2));
    // Both end at the same instant; the outer one may still receive the inner one's end.
    match call.wait().await {
        Ok(answer) => assert_eq!(answer.json::<String>().unwrap(), "deadline_exceeded"),
        Err(error) => assert_eq!(error.code(), Code::DeadlineExceeded),
    }
    count.are(0).await;
    // Far below the minute of the inner one.
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    assert_eq!(count.ever(), 2, "both have run");
}

#[tokio::test]
async fn handlers_client_inherits_deadline_and_cancellation() {
    /// Subscribes, so that it receives its nested call's end.
    async fn outer(
        request: Request,
        client: State<Client>,
        received: State<Received>,
    ) -> Json<u64> {
        assert!(!request.is_cancelled());
        let inner = client.request("left").timeout(Duration::from_secs(60)).wait().await;
        let left = inner.unwrap().json::<u64>().unwrap();
        if request.remaining().is_none() {
            let call = client.request("forever").timeout(Duration::from_secs(60));
            let code = call.wait().await.unwrap_err().code();
            received.0.lock().unwrap().push(code);
        }
        Json(left)
    }
    async fn left(request: Request) -> Json<u128> {
        Json(request.remaining().unwrap().as_millis())
    }
    #[derive(Clone, Default)]
    struct Received(Arc<std::sync::Mutex<Vec<Code>>>);
    let bench = Bench::new().await;
    let (count, received) = (Count::default(), Received::default());
    let (client, state, receives) = (bench.client().await, count.clone(), received.clone());
    let shared = client.clone();
    let build = |worker: redcall_worker::Worker| {
        let worker = worker.state(shared).state(state).state(receives);
        worker.handler("outer", outer).handler("left", left).handler("forever", forever)
    };
    let _worker = bench.worker_with(build).await;
    let call = client.request("outer").timeout(Duration::from_secs(5));
    let inherited: u64 = call.wait().await.unwrap().json().unwrap();
    assert!((1..=5000).contains(&inherited), "{inherited}");
    let ticket = client.request("outer").submit().await.unwrap();
    count.are(1).await;
    ticket.cancel().await.unwrap();
    eventually("the nested call to report why it ended", async || {
        (*received.0.lock().unwrap() == [Code::Cancelled]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn handler_and_command_see_the_remaining_time() {
    async fn left(request: Request) -> Json<u128> {
        Json(request.remaining().unwrap().as_millis())
    }
    let mut bench = Bench::new().await;
    bench.command("budget", &["sh", "-c", "echo $REDCALL_BUDGET_MS"]);
    let _worker = bench.worker_with(|worker| worker.handler("left", left)).await;
    let client = bench.client().await;
    for name in ["left", "budget"] {
        let call = client.request(name).data(&json!(null)).timeout(Duration::from_secs(7));
        let left: u64 = call.wait().await.unwrap().json().unwrap();
        assert!((4000..=7000).contains(&left), "{name}: {left}");
    }
}

#[tokio::test]
async fn a_blocking_handler_sees_its_token_and_its_time() {
    fn busy(request: Request, count: State<Count>) {
        let _run = count.enter();
        while !request.is_cancelled() {
            std::thread::yield_now();
        }
    }
    let bench = Bench::new().await;
    let count = Count::default();
    let state = count.clone();
    let build = |worker: redcall_worker::Worker| worker.state(state).blocking_handler("busy", busy);
    let _worker = bench.worker_with(build).await;
    let ticket = bench.client().await.request("busy").submit().await.unwrap();
    count.are(1).await;
    ticket.cancel().await.unwrap();
    count.are(0).await;
}
