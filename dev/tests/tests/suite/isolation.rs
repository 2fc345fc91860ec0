//! Misbehaving handlers do not disturb other jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redcall_client::Code;
use redcall_common::settings::{HandlerSettings, JobSettings};
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redcall_worker::{Json, State};
use serde_json::json;

type Runs = Arc<AtomicUsize>;

/// Blocks its thread without ever awaiting.
async fn spin(runs: State<Runs>, Json(ms): Json<u64>) -> Json<usize> {
    let until = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    Json(runs.fetch_add(1, Ordering::SeqCst) + 1)
}

#[tokio::test]
async fn spinning_handler_keeps_its_lease_and_others_run() {
    let bench = Bench::new().await;
    let lease = bench.settings.worker.lease;
    let runs = Runs::default();
    let shared = runs.clone();
    let _worker = bench.worker_with(|w| w.state(shared).handler("spin", spin)).await;
    // Would take the job over if the lease were lost.
    let other = runs.clone();
    let _other = bench.worker_with(|w| w.state(other).handler("spin", spin)).await;
    let client = bench.client().await;
    let spinning = client.request("spin").data(&(3 * lease.as_millis() as u64));
    let spinning = tokio::spawn(spinning.wait());
    let mut meanwhile = 0;
    while !spinning.is_finished() {
        let answer = client.call_and_wait("add", &json!({"a": meanwhile, "b": 0})).await;
        assert_eq!(answer.unwrap().data.get(), format!(r#"{{"answer":{meanwhile}}}"#));
        meanwhile += 1;
    }
    assert_eq!(spinning.await.unwrap().unwrap().json::<usize>().unwrap(), 1);
    assert_eq!(runs.load(Ordering::SeqCst), 1, "it was run again");
    assert!(meanwhile > 100, "only {meanwhile} other jobs in three leases");
}

#[tokio::test]
async fn handler_ignoring_its_timeout_is_answered_and_keeps_its_slot() {
    fn stubborn(go_on: State<Arc<AtomicBool>>) {
        while go_on.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }
    let mut bench = Bench::new().await;
    bench.settings.worker.concurrency = 2;
    let mut job = JobSettings::new(HandlerSettings::Compiled("stubborn".into()));
    job.timeout = Duration::from_millis(200);
    bench.settings.jobs.insert("stubborn".into(), job);
    let go_on = Arc::new(AtomicBool::new(true));
    let shared = go_on.clone();
    let build = |w: redcall_worker::Worker| w.state(shared).blocking_handler("stubborn", stubborn);
    let _worker = bench.worker_with(build).await;
    let client = bench.client().await;
    let error = client.call_and_wait("stubborn", &()).await.unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
    let overdue = eventually("the job to be shown as overdue", async || {
        let workers = bench.workers().await;
        let overdue = workers.into_iter().find(|worker| !worker.overdue.is_empty());
        overdue.map(|worker| (worker.running, worker.overdue))
    })
    .await;
    assert_eq!((overdue.0, overdue.1[0].name.as_str()), (1, "stubborn"));
    assert!(overdue.1[0].running_ms >= 200);
    // The other slot works on.
    client.call_and_wait("add", &json!({"a": 1, "b": 1})).await.unwrap();
    go_on.store(false, Ordering::Release);
    eventually("the slot to be free again", async || {
        bench.workers().await.iter().all(|worker| worker.running == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_async_handler_is_ended_at_its_timeout() {
    let mut bench = Bench::new().await;
    bench.settings.jobs.get_mut("sleep").unwrap().timeout = Duration::from_millis(100);
    let _worker = bench.worker().await;
    let client = bench.client().await;
    for _ in 0..20 {
        let error = client.call_and_wait("sleep", &json!({"ms": 60_000})).await.unwrap_err();
        assert_eq!(error.code(), Code::Timeout);
    }
    eventually("its slots to be free", async || {
        bench.workers().await.iter().all(|worker| worker.running == 0).then_some(())
    })
    .await;
}
