//! The status of a job reports every kind of end, with the code of its error.

use std::time::Duration;

use redcall_client::{Client, Code, CompletionToken, JobStatus, ServiceOp, Ticket, WireError};
use redcall_common::settings::{HandlerSettings, JobSettings, OnWorkerLoss};
use redcall_testkit::eventually;
use redcall_tests::{Bench, counter, counter_service};
use redcall_worker::{Request, State, Worker};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{
    Error, Gate, KEPT, Pending, Processing, SOON, Success, code, key, rest, shown, worker,
};
use crate::support::{QUEUE, waited};

/// The code with which a job ends, and whether it had started.
async fn end(ticket: &Ticket) -> (Code, bool) {
    let states = rest(&mut ticket.monitor(SOON).await.unwrap()).await;
    let history = ticket.history().await.unwrap();
    let started = history.iter().any(|status| status.state == Processing);
    (code(states.last().unwrap()), started)
}

/// The field by which foreign clients have a status kept for a minute.
const TRACKED: &str = r#","status_ttl_ms":60000"#;

async fn push(bench: &Bench, raw: &str) {
    let mut conn = bench.redis.connection().await;
    let () = conn.rpush(QUEUE, raw).await.unwrap();
}

/// All states of a job, once it has ended.
async fn ended(client: &Client, id: &str) -> Vec<JobStatus> {
    eventually("its end", async || {
        let states = client.status_history(id).await.ok()?;
        states.last()?.state.ends().then_some(states)
    })
    .await
}

async fn submit(client: &Client, name: &str, data: &Value) -> Ticket {
    client.request(name).data(data).track_status(KEPT).submit().await.unwrap()
}

/// Runs until it is cancelled.
async fn endless(request: Request) {
    request.cancelled().await;
}

async fn panics() {
    panic!("as requested");
}

fn more(worker: Worker) -> Worker {
    worker.handler("endless", endless).handler("panics", panics)
}

#[tokio::test]
async fn each_error_of_a_job_that_ran_is_its_status() {
    let mut bench = Bench::new().await;
    bench.settings.limits.answer = 100;
    let mut brief = JobSettings::new(HandlerSettings::Compiled("endless".to_owned()));
    brief.timeout = Duration::from_millis(30);
    bench.settings.jobs.insert("brief".to_owned(), brief);
    let endless = JobSettings::new(HandlerSettings::Compiled("endless".to_owned()));
    bench.settings.jobs.insert("endless".to_owned(), endless);
    let _worker = bench.worker_with(more).await;
    let client = bench.client().await;
    for (name, data, expected) in [
        ("fail", json!({}), Code::HandlerFailed),
        ("fail", json!(7), Code::InvalidData),
        ("panics", json!(null), Code::HandlerPanicked),
        ("brief", json!(null), Code::Timeout),
        ("echo", json!("x".repeat(200)), Code::TooLarge),
    ] {
        let ticket = submit(&client, name, &data).await;
        assert_eq!(end(&ticket).await, (expected, true), "{name}");
    }
    // Its time begins with its lease.
    push(&bench, &waited("hurried", "endless", "1", &format!(r#","budget_ms":1500{TRACKED}"#)))
        .await;
    let states = ended(&client, "hurried").await;
    assert_eq!(shown(&states), [(Processing, 1), (Error, 1)]);
    assert_eq!(code(&states[1]), Code::DeadlineExceeded);
    let unwanted = submit(&client, "endless", &json!(null)).await;
    eventually("it to run", async || {
        (unwanted.status().await.unwrap().state == Processing).then_some(())
    })
    .await;
    unwanted.cancel().await.unwrap();
    assert_eq!(end(&unwanted).await, (Code::Cancelled, true));
}

#[tokio::test]
async fn unstarted_job_ends_with_its_code() {
    let mut bench = Bench::new().await;
    let client = bench.client().await;
    let cancelled = submit(&client, "echo", &json!(1)).await;
    cancelled.cancel().await.unwrap();
    let late = format!(r#","enqueued_at":1,"budget_ms":1{TRACKED}"#);
    push(&bench, &waited("late", "echo", "1", &late)).await;
    let unknown = submit(&client, "absent", &json!(1)).await;
    let deep = submit(&client, "echo", &json!([[[[1]]]])).await;
    let unhandled = client.request("absent").track_status(KEPT).send().await.unwrap();
    bench.settings.limits.depth = 4;
    let _worker = bench.worker().await;
    assert_eq!(end(&cancelled).await, (Code::Cancelled, false));
    let late = ended(&client, "late").await;
    assert_eq!((late.len(), code(&late[0])), (1, Code::DeadlineExceeded));
    assert_eq!(end(&unknown).await, (Code::UnknownJob, false));
    assert_eq!(end(&deep).await, (Code::InvalidRequest, false));
    let mut monitor = client.monitor(&unhandled).await.unwrap();
    assert_eq!(code(rest(&mut monitor).await.last().unwrap()), Code::UnknownJob);
}

#[tokio::test]
async fn parked_job_stays_pending_until_it_starts() {
    let mut bench = Bench::new().await;
    let gate = Gate::new();
    gate.open(1);
    let client = bench.client().await;
    bench.settings.worker.queues = vec!["default".to_owned()];
    // One that maps it but takes nothing, and one that takes it but does not map it.
    let mut conn = bench.redis.connection().await;
    let keys = redcall_common::keys::Keys::new("redcall").of("default");
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query_async(&mut conn).await.unwrap();
    let ends = (seconds + 600) * 1000;
    let () = conn.set(keys.worker("elsewhere"), r#"{"lease_ms":600000}"#).await.unwrap();
    let () = conn.zadd(keys.workers(), "elsewhere", ends).await.unwrap();
    let () = conn.zadd(keys.names(), "gated", ends).await.unwrap();
    let other = bench.worker().await;
    let ticket = submit(&client, "gated", &json!(null)).await;
    eventually("it to be parked", async || {
        let parked: bool = conn.exists("redcall:{default}:parked:gated").await.unwrap();
        parked.then_some(())
    })
    .await;
    assert_eq!(ticket.status().await.unwrap().state, Pending);
    let _worker = worker(&bench, &gate).await;
    let states = rest(&mut ticket.monitor(SOON).await.unwrap()).await;
    assert_eq!(states.last().unwrap().state, Success);
    assert_eq!(
        shown(&ticket.history().await.unwrap()),
        [(Pending, 0), (Processing, 1), (Success, 1)]
    );
    drop(other);
}

#[tokio::test]
async fn unrepeatable_job_ends_as_worker_lost() {
    let mut bench = Bench::new().await;
    let mut job = JobSettings::new(HandlerSettings::Compiled("gated".to_owned()));
    job.on_worker_loss = OnWorkerLoss::Fail;
    bench.settings.jobs.insert("gated".to_owned(), job);
    bench.settings.worker.drain_timeout = Duration::from_millis(1);
    let gate = Gate::new();
    let running = worker(&bench, &gate).await;
    let client = bench.client().await;
    let ticket = submit(&client, "gated", &json!(null)).await;
    let mut monitor = ticket.monitor(SOON).await.unwrap();
    while super::next(&mut monitor).await.state != Processing {}
    running.drain().await;
    let states = rest(&mut monitor).await;
    assert_eq!((states.len(), code(&states[0])), (1, Code::WorkerLost));
}

#[tokio::test]
async fn status_is_tracked_by_a_request_field_or_a_mapping() {
    let mut bench = Bench::new().await;
    let gate = Gate::new();
    gate.open(3);
    let mut job = JobSettings::new(HandlerSettings::Compiled("gated".to_owned()));
    bench.settings.jobs.insert("gated".to_owned(), job.clone());
    job.status = Some(KEPT);
    bench.settings.jobs.insert("mapped".to_owned(), job);
    let _worker = worker(&bench, &gate).await;
    let mut conn = bench.redis.connection().await;
    let tracked = waited("asks", "gated", "null", TRACKED);
    let untracked = waited("plain", "gated", "null", "");
    let mapped = waited("mapped", "mapped", "null", "");
    let () = conn.rpush(QUEUE, &[tracked, untracked, mapped]).await.unwrap();
    let client = bench.client().await;
    for id in ["asks", "mapped"] {
        let states = ended(&client, id).await;
        assert_eq!(shown(&states), [(Processing, 1), (Success, 1)]);
    }
    eventually("the answer", async || {
        conn.exists::<_, bool>(crate::support::response_key("plain")).await.unwrap().then_some(())
    })
    .await;
    assert!(!conn.exists::<_, bool>(key("plain")).await.unwrap());
    // Our client with these settings writes the first state, too.
    let answer = client.request("mapped").data(&json!(0)).submit().await.unwrap();
    assert_eq!(answer.history().await.unwrap()[0].state, Pending);
}

/// Puts its answer off, and leaves the token to the test.
async fn defers(request: Request, tokens: State<UnboundedSender<CompletionToken>>) {
    let token = request.defer(&(), Some(Duration::from_secs(60))).await.unwrap();
    tokens.send(token).unwrap();
}

#[tokio::test]
async fn deferred_job_is_processing_until_settled() {
    let bench = Bench::new().await;
    let (send, mut tokens) = unbounded_channel();
    let build = |worker: Worker| worker.state(send).handler("defers", defers);
    let (_worker, client) = (bench.worker_with(build).await, bench.client().await);
    let done = submit(&client, "defers", &json!(null)).await;
    let token = tokens.recv().await.unwrap();
    assert_eq!(client.status(&*done.id).await.unwrap().state, Processing);
    assert!(client.settle(&token, Ok(7)).await.unwrap());
    let states = done.history().await.unwrap();
    assert_eq!(shown(&states), [(Pending, 0), (Processing, 1), (Success, 1)]);
    let failed = submit(&client, "defers", &json!(null)).await;
    let token = tokens.recv().await.unwrap();
    let error = WireError::new(Code::HandlerFailed, "as requested");
    assert!(client.settle::<()>(&token, Err(error)).await.unwrap());
    assert_eq!(end(&failed).await, (Code::HandlerFailed, true));
    let gone = submit(&client, "defers", &json!(null)).await;
    tokens.recv().await.unwrap();
    gone.cancel().await.unwrap();
    assert_eq!(end(&gone).await, (Code::Cancelled, true));
}

#[tokio::test]
async fn a_task_of_a_service_ends_with_its_state() {
    let mut bench = Bench::new().await;
    bench.settings.services.insert("counter".to_owned(), counter_service());
    let _worker = bench.worker_with(counter).await;
    let client = bench.client().await;
    client.service("counter").initialize(&1).await.unwrap();
    let request =
        client.service("counter").request(ServiceOp::Execute, &json!({ "by": 2 })).unwrap();
    let request = request.track_status(KEPT);
    let response = request.wait().await.unwrap();
    let states = client.status_history(&response.response_key).await.unwrap();
    assert_eq!(shown(&states), [(Pending, 0), (Processing, 1), (Success, 1)]);
    let state = client.service("counter").state(SOON).await.unwrap().unwrap();
    assert!(state.state.get().contains('3'), "{state:?}");
}
