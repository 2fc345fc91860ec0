//! Jobs with concurrency limits: per worker, over all workers, and per customer.

mod rotation;
mod values;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redcall_client::Code;
use redcall_common::settings::{Limit, Rate};
use redcall_testkit::eventually;
use redcall_tests::{Bench, RunningWorker};
use redcall_worker::{Json, Request, State};
use redis::AsyncCommands;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{connection, dies, job, keys, nothing_is_left};

/// Longer than anything takes that waits neither for minutes nor for a machine that stands for
/// seconds.
const SOON: Duration = Duration::from_secs(6);

/// The running jobs, the order of the runs, and the maximum at once, by customer.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    running: BTreeMap<String, usize>,
    max: BTreeMap<String, usize>,
    ended: Vec<String>,
    started: Vec<Instant>,
}

#[derive(Serialize, Deserialize)]
struct Order {
    customer: String,
    #[serde(default)]
    ms: u64,
}

async fn order(log: State<Log>, Json(order): Json<Order>) {
    {
        let mut log = log.0.lock().unwrap();
        log.started.push(Instant::now());
        let running = log.running.entry(order.customer.clone()).or_default();
        *running += 1;
        let now = *running;
        let max = log.max.entry(order.customer.clone()).or_default();
        *max = now.max(*max);
    }
    super::works(Duration::from_millis(order.ms)).await;
    let mut log = log.0.lock().unwrap();
    *log.running.get_mut(&order.customer).unwrap() -= 1;
    log.ended.push(order.customer);
}

impl Log {
    fn max(&self, customer: &str) -> usize {
        self.0.lock().unwrap().max[customer]
    }

    fn ended(&self) -> usize {
        self.0.lock().unwrap().ended.len()
    }

    async fn all_ended(&self, count: usize) {
        eventually("all orders to end", async || (self.ended() == count).then_some(())).await;
    }
}

async fn worker(bench: &Bench, log: &Log) -> RunningWorker {
    let log = log.clone();
    bench.worker_with(|worker| worker.state(log).handler("order", order)).await
}

fn by_customer(concurrency: u32) -> Limit {
    Limit { key: Some("customer".into()), concurrency: Some(concurrency), rate: None }
}

/// Queues `count` orders of a customer.
async fn orders(bench: &Bench, customer: &str, ms: u64, count: usize) {
    let mut conn = connection(bench).await;
    let data = json!({"customer": customer, "ms": ms});
    let order = |n| format!(r#"{{"id":"{customer}-{n}","name":"order","data":{data}}}"#);
    let elements: Vec<String> = (0..count).map(order).collect();
    for elements in elements.chunks(10_000) {
        let () = conn.rpush(keys().queue(), elements).await.unwrap();
    }
}

#[tokio::test]
async fn customer_limit_holds_over_all_workers() {
    let mut bench = Bench::new().await;
    job(&mut bench, "order").limit = Some(by_customer(2));
    let log = Log::default();
    let _workers = [worker(&bench, &log).await, worker(&bench, &log).await];
    for customer in ["a", "b"] {
        orders(&bench, customer, 5, 40).await;
    }
    log.all_ended(80).await;
    assert_eq!((log.max("a"), log.max("b")), (2, 2));
    nothing_is_left(&mut connection(&bench).await).await;
}

#[tokio::test]
async fn worker_keeps_the_concurrency_of_its_mapping() {
    let mut bench = Bench::new().await;
    job(&mut bench, "order").concurrency = Some(3);
    let log = Log::default();
    let _worker = worker(&bench, &log).await;
    let client = bench.client().await;
    orders(&bench, "a", 5, 60).await;
    // Unlimited jobs do not wait behind it.
    for n in 0..20 {
        assert_eq!(client.call_and_wait("echo", &n).await.unwrap().json::<u32>().unwrap(), n);
    }
    log.all_ended(60).await;
    assert_eq!(log.max("a"), 3);
    nothing_is_left(&mut connection(&bench).await).await;
}

#[tokio::test]
async fn few_jobs_do_not_wait_for_another_customers_thousands() {
    let mut bench = Bench::new().await;
    job(&mut bench, "order").limit = Some(by_customer(50));
    orders(&bench, "many", 0, 100_000).await;
    orders(&bench, "few", 0, 10).await;
    let log = Log::default();
    let _workers = [worker(&bench, &log).await, worker(&bench, &log).await];
    let last = eventually("the ten to be done", async || {
        let ended = &log.0.lock().unwrap().ended;
        let mut places = ended.iter().enumerate().filter(|(_, customer)| *customer == "few");
        places.nth(9).map(|(place, _)| place)
    })
    .await;
    // Among the first of the hundred thousand. By ends, since handlers note them; the machine may
    // hold up the thread of one of the ten while others end.
    assert!(last < 2_000, "the last of the ten was number {last}");
}

#[tokio::test]
async fn no_more_start_than_the_rate_allows() {
    let mut bench = Bench::new().await;
    // No heartbeat comes within the test: it has no part in the starts.
    bench.settings.worker.lease = Duration::from_secs(600);
    let rate = Rate { count: 5, per: Duration::from_millis(500) };
    job(&mut bench, "order").limit = Some(Limit { key: None, concurrency: None, rate: Some(rate) });
    let log = Log::default();
    let _worker = worker(&bench, &log).await;
    orders(&bench, "a", 0, 12).await;
    log.all_ended(12).await;
    let started = log.0.lock().unwrap().started.clone();
    // Five at once, then one each tenth of a second: the twelfth seven of those later.
    let took = started[11] - started[0];
    assert!(took > Duration::from_millis(600), "{took:?}");
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn as_many_start_at_once_as_the_rate_counts() {
    let mut bench = Bench::new().await;
    // One each minute, after the first five.
    let rate = Rate { count: 5, per: Duration::from_secs(300) };
    job(&mut bench, "order").limit = Some(Limit { key: None, concurrency: None, rate: Some(rate) });
    let log = Log::default();
    let _worker = worker(&bench, &log).await;
    orders(&bench, "a", 0, 6).await;
    log.all_ended(5).await;
    bench.client().await.call_and_wait("echo", &1).await.unwrap();
    assert_eq!(log.ended(), 5);
}

#[tokio::test]
async fn limit_permit_of_a_dead_worker_is_returned() {
    let mut bench = Bench::new().await;
    job(&mut bench, "order").limit = Some(by_customer(1));
    let log = Log::default();
    let mut conn = connection(&bench).await;
    orders(&bench, "a", 0, 3).await;
    // It holds the only slot, as a worker that knows the limit, and dies.
    let taken = super::dies_with(&bench, "ghost", 3, &[rule(by_customer(1))]).await;
    assert_eq!(taken, 1);
    let running: usize = conn.scard("redcall:{default}:running:order:a").await.unwrap();
    assert_eq!(running, 1);
    let _worker = worker(&bench, &log).await;
    log.all_ended(3).await;
    nothing_is_left(&mut conn).await;
}

fn rule(limit: Limit) -> redcall_store::LimitRule {
    redcall_store::LimitRule { name: "order".into(), limit, room: None }
}

#[tokio::test]
async fn sorted_requests_run_on_workers_without_limits() {
    let bench = Bench::new().await;
    orders(&bench, "a", 0, 5).await;
    let taken = super::dies_with(&bench, "ghost", 3, &[rule(by_customer(1))]).await;
    assert_eq!(taken, 1);
    assert_eq!(dies(&bench, "other", 5).await, 0, "all are partitioned");
    let log = Log::default();
    let _worker = worker(&bench, &log).await;
    log.all_ended(5).await;
}

#[tokio::test]
async fn sorted_request_without_a_mapping_is_unknown_job() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let data = json!({"customer": "a"});
    let submit = async || client.request("order").data(&data).submit().await.unwrap();
    let tickets = [submit().await, submit().await];
    assert_eq!(super::dies_with(&bench, "ghost", 0, &[rule(by_customer(1))]).await, 0);
    assert_eq!(super::dies_with(&bench, "ghost", 1, &[rule(by_customer(1))]).await, 1);
    let _worker = bench.worker().await;
    for ticket in tickets {
        assert_eq!(ticket.wait().await.unwrap_err().code(), Code::UnknownJob);
    }
}

#[tokio::test]
async fn limited_job_on_an_idle_worker_starts_at_once() {
    async fn customer_of(request: Request) -> Json<String> {
        Json(request.id().to_owned())
    }
    let mut bench = Bench::new().await;
    job(&mut bench, "customer_of").limit = Some(by_customer(1));
    let _worker = bench.worker_with(|worker| worker.handler("customer_of", customer_of)).await;
    let client = bench.client().await;
    for _ in 0..50 {
        let response =
            client.call_and_wait("customer_of", &json!({"customer": "a"})).await.unwrap();
        assert_eq!(response.json::<String>().unwrap(), response.id);
    }
    nothing_is_left(&mut connection(&bench).await).await;
    let left: usize = connection(&bench).await.exists(keys().limited_names()).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn request_over_worker_concurrency_starts_when_room_frees() {
    // Answers, and holds its slot for longer.
    async fn lingers(request: Request, gate: State<Arc<tokio::sync::Semaphore>>) {
        request.respond(&1).await.unwrap();
        gate.acquire().await.unwrap().forget();
    }
    let mut bench = Bench::new().await;
    bench.settings.worker.lease = Duration::from_secs(600);
    job(&mut bench, "lingers").concurrency = Some(1);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let handlers = gate.clone();
    let _worker =
        bench.worker_with(|worker| worker.state(handlers).handler("lingers", lingers)).await;
    let client = bench.client().await;
    let call = || client.request("lingers").timeout(Duration::from_secs(20)).submit();
    let tickets = [call().await.unwrap(), call().await.unwrap(), call().await.unwrap()];
    let began = Instant::now();
    for ticket in tickets {
        ticket.wait().await.unwrap();
        // Its settling poll has ended, and did not find room for another.
        client.call_and_wait("echo", &1).await.unwrap();
        gate.add_permits(1);
    }
    let took = began.elapsed();
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn request_within_its_rate_does_not_wait_for_a_heartbeat() {
    let mut bench = Bench::new().await;
    bench.settings.worker.lease = Duration::from_secs(600);
    let rate = Rate { count: 1, per: Duration::from_millis(100) };
    job(&mut bench, "order").limit = Some(Limit { key: None, concurrency: None, rate: Some(rate) });
    let log = Log::default();
    let _worker = worker(&bench, &log).await;
    let began = Instant::now();
    orders(&bench, "a", 0, 4).await;
    log.all_ended(4).await;
    let took = began.elapsed();
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn lost_work_notification_is_recovered_by_the_heartbeat() {
    let mut bench = Bench::new().await;
    job(&mut bench, "order").limit = Some(by_customer(1));
    let log = Log::default();
    let _worker = worker(&bench, &log).await;
    bench.client().await.call_and_wait("echo", &1).await.unwrap();
    // Partitioned by another worker, which could not notify the others.
    let mut conn = connection(&bench).await;
    let order = r#"{"id":"a","name":"order","data":{"customer":"a"}}"#;
    let mut partitioned = redis::pipe();
    partitioned.atomic().rpush("redcall:{default}:limited:order:a", order);
    partitioned.rpush("redcall:{default}:rotation:order", "a").hset(
        keys().limited_names(),
        "order",
        1,
    );
    let began = Instant::now();
    let () = partitioned.query_async(&mut conn).await.unwrap();
    log.all_ended(1).await;
    let took = began.elapsed();
    assert!(took < SOON, "{took:?}");
}
