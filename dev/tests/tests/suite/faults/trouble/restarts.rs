//! Redis is killed and comes back with its data, but without scripts.

use std::time::{Duration, Instant};

use crate::support::SOON;
use redcall_client::{CallError, Client};
use redcall_common::settings::{HandlerSettings, JobSettings, Settings};
use redcall_testkit::{RestartableRedis, eventually};
use redcall_tests::RunningWorker;
use redcall_worker::Worker;
use tokio::task::JoinHandle;

fn settings(redis: &RestartableRedis) -> Settings {
    let mut settings = Settings { redis: redis.settings(), ..Settings::default() };
    settings.worker.lease = Duration::from_millis(500);
    let echo = HandlerSettings::Compiled("builtin:echo".to_owned());
    settings.jobs.insert("echo".to_owned(), JobSettings::new(echo));
    settings
}

fn worker(settings: &Settings) -> RunningWorker {
    RunningWorker::start(Worker::from_settings(settings.clone()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_waits_over_a_restart_end_in_time() {
    const TIMEOUT: Duration = Duration::from_secs(10);
    let mut redis = RestartableRedis::start().await;
    let settings = settings(&redis);
    let client = Client::from_settings(&settings).await.unwrap();
    let call = |n: usize| {
        let call = client.request("echo").data(&n).timeout(TIMEOUT);
        tokio::spawn(async move {
            let since = Instant::now();
            let ended = call.wait().await;
            assert!(since.elapsed() < TIMEOUT + SOON, "ended after {:?}", since.elapsed());
            ended
        })
    };
    let worker = worker(&settings);
    client.call_and_wait("echo", "first").await.unwrap();
    // Queued for certain, and not begun.
    client.pause("default").await.unwrap();
    let queued: Vec<_> = (0..500).map(call).collect();
    eventually("all to be queued", async || {
        let queues = client.inspect().queues().await.unwrap();
        (queues[0].length == 500).then_some(())
    })
    .await;
    redis.kill();
    redis.start_again().await;
    client.resume("default").await.unwrap();
    // In flight while it dies again.
    let under_way: Vec<_> = (0..500).map(call).collect();
    eventually("the first answer", async || {
        queued.iter().any(JoinHandle::is_finished).then_some(())
    })
    .await;
    redis.kill();
    redis.start_again().await;
    for (n, wait) in queued.into_iter().enumerate() {
        assert_eq!(wait.await.unwrap().unwrap().data.get(), n.to_string());
    }
    for (n, wait) in under_way.into_iter().enumerate() {
        match wait.await.unwrap() {
            Ok(answer) => assert_eq!(answer.data.get(), n.to_string()),
            Err(error) => assert!(matches!(error, CallError::Unknown { .. }), "{error}"),
        }
    }
    drop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_and_workers_are_back_within_a_second() {
    let mut redis = RestartableRedis::start().await;
    let settings = settings(&redis);
    let (_worker, client) = (worker(&settings), Client::from_settings(&settings).await.unwrap());
    for round in 0..5 {
        client.call_and_wait("echo", &round).await.unwrap();
        redis.kill();
        // Long enough for every client to fail, and to pause longer between attempts.
        let call = client.request("echo").data(&1).timeout(Duration::from_secs(1));
        let error = call.wait().await.unwrap_err();
        assert!(error.code() == redcall_client::Code::Unavailable, "{error}");
        redis.start_again().await;
        let call = client.request("echo").data(&round).timeout(SOON);
        assert_eq!(call.wait().await.unwrap().data.get(), round.to_string());
    }
}
