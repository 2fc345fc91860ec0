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

/// How often a job was started that spins until it may end.
#[derive(Default)]
struct Spin {
    starts: AtomicUsize,
    may_end: AtomicBool,
}

/// Blocks its thread without ever awaiting.
async fn spin(spin: State<Arc<Spin>>) -> Json<usize> {
    let start = spin.starts.fetch_add(1, Ordering::SeqCst) + 1;
    while !spin.may_end.load(Ordering::Acquire) {
        std::hint::spin_loop();
    }
    Json(start)
}

#[tokio::test]
async fn spinning_handler_keeps_its_lease_and_others_run() {
    let bench = Bench::new().await;
    let lease = bench.settings.worker.lease;
    let state = Arc::<Spin>::default();
    let shared = state.clone();
    let _worker = bench.worker_with(|w| w.state(shared).handler("spin", spin)).await;
    // Would take the job over if the lease were lost.
    let other = state.clone();
    let _other = bench.worker_with(|w| w.state(other).handler("spin", spin)).await;
    let client = bench.client().await;
    let spinning = client.request("spin").timeout(Duration::from_secs(60));
    let spinning = tokio::spawn(spinning.wait());
    eventually("it to spin", async || (state.starts.load(Ordering::SeqCst) > 0).then_some(()))
        .await;
    let (since, mut meanwhile) = (Instant::now(), 0);
    // For three leases, and until many others were answered.
    while since.elapsed() < 3 * lease || meanwhile < 100 {
        let answer = client.call_and_wait("add", &json!({"a": meanwhile, "b": 0})).await;
        assert_eq!(answer.unwrap().data.get(), format!(r#"{{"answer":{meanwhile}}}"#));
        meanwhile += 1;
    }
    state.may_end.store(true, Ordering::Release);
    assert_eq!(spinning.await.unwrap().unwrap().json::<usize>().unwrap(), 1);
    assert_eq!(state.starts.load(Ordering::SeqCst), 1, "it was run again");
}

#[tokio::test]
async fn handler_ignoring_its_timeout_is_answered_and_keeps_capacity() {
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
