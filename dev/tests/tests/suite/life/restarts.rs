//! Redis dies and comes back with its data.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redcall_client::{CallError, Client};
use redcall_common::settings::Settings;
use redcall_testkit::{RestartableRedis, eventually};
use redcall_tests::{LEASE, RunningWorker};
use redcall_worker::{Json, State, Worker};

#[derive(Clone, Default)]
struct Runs(Arc<AtomicUsize>);

async fn counted(runs: State<Runs>, Json(ms): Json<u64>) -> Json<u64> {
    runs.0.fetch_add(1, Ordering::SeqCst);
    super::works(Duration::from_millis(ms)).await;
    Json(ms)
}

struct Stage {
    // First, since they take their leave of a server that still runs.
    _workers: Vec<RunningWorker>,
    client: Client,
    runs: Runs,
    redis: RestartableRedis,
}

impl Stage {
    async fn with_workers(count: usize) -> Self {
        let redis = RestartableRedis::start().await;
        let mut settings = Settings { redis: redis.settings(), ..Settings::default() };
        settings.worker.lease = LEASE;
        let runs = Runs::default();
        let client = Client::from_settings(&settings).await.unwrap();
        let worker = || {
            let worker = Worker::from_settings(settings.clone()).unwrap();
            RunningWorker::start(worker.state(runs.clone()).handler("counted", counted))
        };
        let workers = (0..count).map(|_| worker()).collect();
        eventually("the workers to live", async || {
            (client.inspect().workers().await.unwrap().len() == count).then_some(())
        })
        .await;
        Self { _workers: workers, client, runs, redis }
    }

    fn runs(&self) -> usize {
        self.runs.0.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_calls_are_answered_though_redis_is_killed() {
    let mut stage = Stage::with_workers(2).await;
    for round in 0..3 {
        let client = stage.client.clone();
        let before = stage.runs();
        let calls = tokio::spawn(async move {
            let calls = (0..500).map(|_| client.request("counted").data(&1));
            client.wait_many(calls).await
        });
        eventually("some to have run", async || (stage.runs() > before + 50).then_some(())).await;
        stage.redis.kill();
        stage.redis.start_again().await;
        for answer in calls.await.unwrap() {
            match answer {
                Ok(answer) => assert_eq!(answer.data.get(), "1"),
                // Its enqueue was in flight when the connection broke.
                Err(error) => assert!(matches!(error, CallError::Unknown { .. }), "{error}"),
            }
        }
        // And it continues as before.
        let answer = stage.client.call_and_wait("counted", &round).await.unwrap();
        assert_eq!(answer.json::<u64>().unwrap(), round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_cut_off_with_redis_is_not_taken_over() {
    let mut stage = Stage::with_workers(2).await;
    let client = stage.client.clone();
    let calls = tokio::spawn(async move {
        let calls = (0..20).map(|_| client.request("counted").data(&4000));
        client.wait_many(calls).await
    });
    eventually("all to run", async || (stage.runs() == 20).then_some(())).await;
    stage.redis.kill();
    // Every lease ends meanwhile.
    super::works(LEASE + Duration::from_millis(100)).await;
    stage.redis.start_again().await;
    for answer in calls.await.unwrap() {
        answer.unwrap();
    }
    assert_eq!(stage.runs(), 20, "some ran twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scheduled_job_runs_after_a_restart() {
    let mut stage = Stage::with_workers(1).await;
    let delay = Duration::from_millis(300);
    let ticket = stage.client.request("counted").data(&7).delay(delay).submit().await.unwrap();
    stage.redis.kill();
    stage.redis.start_again().await;
    assert_eq!(ticket.wait().await.unwrap().data.get(), "7");
}
