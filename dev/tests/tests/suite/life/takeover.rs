//! Jobs whose worker died.

use std::time::{Duration, Instant};

use redcall_client::{Code, Update};
use redcall_common::settings::OnWorkerLoss;
use redcall_store::{Session as _, UpkeepOps as _};
use redcall_tests::{Bench, RunningWorker};
use redcall_worker::{Json, Request};
use redis::AsyncCommands;
use serde_json::json;

use super::{connection, dead_letter, dies, job, keys, nothing_is_left, runs};

/// Answers with the number of its run.
async fn which(request: Request) -> Json<u32> {
    Json(request.attempt())
}

async fn worker(bench: &Bench) -> RunningWorker {
    bench.worker_with(|worker| worker.handler("which", which)).await
}

#[tokio::test]
async fn follower_learns_of_the_restart() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let mut conn = connection(&bench).await;
    // A worker has to live when it is queued, or the client would wait with it.
    let other = worker(&bench).await;
    let () = conn.set(keys().paused(), "1").await.unwrap();
    let mut stream = client.request("which").stream().await.unwrap();
    redcall_testkit::eventually("it to be queued", async || {
        (conn.llen::<_, usize>(keys().queue()).await.unwrap() == 1).then_some(())
    })
    .await;
    drop(other);
    let () = conn.del(keys().paused()).await.unwrap();
    assert_eq!(dies(&bench, "ghost", 1).await, 1);
    let _worker = worker(&bench).await;
    let mut seen = Vec::new();
    while let Some(update) = stream.next().await {
        seen.push(match update.unwrap() {
            Update::Pending => "pending".to_owned(),
            Update::Deferred { data, .. } => format!("deferred {data}"),
            Update::Restarted { attempt } => format!("restarted {attempt}"),
            Update::Done(response) => format!("done {}", response.data.get()),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, ["restarted 2", "done 2"]);
}

#[tokio::test]
async fn unrepeatable_job_of_a_dead_worker_is_answered_worker_lost() {
    let mut bench = Bench::new().await;
    job(&mut bench, "which").on_worker_loss = OnWorkerLoss::Fail;
    let client = bench.client().await;
    let call = client.request("which").submit().await.unwrap();
    assert_eq!(dies(&bench, "ghost", 1).await, 1);
    let _worker = worker(&bench).await;
    assert_eq!(call.wait().await.unwrap_err().code(), Code::WorkerLost);
    let mut conn = connection(&bench).await;
    let letter = dead_letter(&mut conn).await;
    assert_eq!(runs(&letter), [(1, "worker_lost".to_owned())]);
    nothing_is_left(&mut conn).await;
}

#[tokio::test]
async fn a_job_that_kills_its_workers_ends_in_the_dead_letters() {
    let mut bench = Bench::new().await;
    job(&mut bench, "which").max_crashes = 2;
    let client = bench.client().await;
    let call = client.request("which").submit().await.unwrap();
    let mut conn = connection(&bench).await;
    for name in ["ghost1", "ghost2"] {
        assert_eq!(dies(&bench, name, 1).await, 1);
        take_over(&bench, name).await;
    }
    let _worker = worker(&bench).await;
    assert_eq!(call.wait().await.unwrap_err().code(), Code::WorkerLost);
    let letter = dead_letter(&mut conn).await;
    assert_eq!((letter["code"].as_str(), letter["id"].as_str()), ("worker_lost", &*call.id));
    assert_eq!(runs(&letter), [1, 2].map(|attempt| (attempt, "worker_lost".to_owned())));
    nothing_is_left(&mut conn).await;
}

/// The steps of a live worker that finds `dead` dead.
async fn take_over(bench: &Bench, dead: &str) {
    use redcall_store::{Connection, Connector, Released};
    let connector = Connector::new(&bench.redis.settings(), "taker").unwrap();
    let link = Connection::connect(connector, std::sync::Arc::new(|_, _| {})).await.unwrap();
    let released = link.release(&keys(), dead, false, super::TIMEOUT).await.unwrap();
    assert_eq!(released, Released::Back(1));
}

#[tokio::test]
async fn worker_does_not_take_over_within_a_lease_of_its_start() {
    let mut bench = Bench::new().await;
    bench.settings.worker.lease = Duration::from_secs(2);
    let client = bench.client().await;
    let call = client.request("which").submit().await.unwrap();
    assert_eq!(dies(&bench, "ghost", 1).await, 1);
    // Before it starts: this process may be stopped between its start and the next line.
    let since = Instant::now();
    let _worker = worker(&bench).await;
    assert_eq!(call.wait().await.unwrap().json::<u32>().unwrap(), 2);
    let waited = since.elapsed();
    assert!(waited > Duration::from_millis(1800), "taken over after {waited:?}");
    assert!(waited < Duration::from_secs(5), "taken over after {waited:?}");
}

#[tokio::test]
async fn connections_that_break_again_and_again_delay_no_take_over() {
    let mut bench = Bench::new().await;
    bench.settings.worker.lease = Duration::from_secs(2);
    let call = bench.client().await.request("which").submit().await.unwrap();
    assert_eq!(dies(&bench, "ghost", 1).await, 1);
    let mut conn = connection(&bench).await;
    let _worker = worker(&bench).await;
    let since = Instant::now();
    let breaking = async {
        let mut often = tokio::time::interval(Duration::from_millis(400));
        loop {
            often.tick().await;
            crate::support::cut(&mut conn, "redcall-worker").await;
        }
    };
    let answer = tokio::select! {
        answer = call.wait() => answer.unwrap(),
        () = breaking => unreachable!(),
    };
    assert_eq!(answer.json::<u32>().unwrap(), 2);
    // A lease after its start, and a heartbeat.
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
}

#[tokio::test]
async fn orphaned_live_ids_and_leases_are_repaired() {
    let bench = Bench::new().await;
    let mut conn = connection(&bench).await;
    // As after an eviction: the id of a request that is nowhere, and one that is held by a worker
    // without a registration.
    let () = conn.hset(keys().live(), "nowhere", "ghost").await.unwrap();
    let call = bench.client().await.request("which").submit().await.unwrap();
    assert_eq!(dies(&bench, "lost", 1).await, 1);
    let () = conn.zrem(keys().workers(), "lost").await.unwrap();
    // A worker is registered, so the registry is not rebuilt as a whole.
    let () = conn.zadd(keys().workers(), "another", 9e15).await.unwrap();
    let _worker = worker(&bench).await;
    assert_eq!(call.wait().await.unwrap().json::<u32>().unwrap(), 2);
    nothing_is_left(&mut conn).await;
    // And the same id can come again.
    let envelope = json!({"id": "nowhere", "name": "which", "data": null,
        "response_key": keys().response("nowhere")});
    let () = conn.rpush(keys().queue(), envelope.to_string()).await.unwrap();
    let popped: (String, String) = conn.blpop(keys().response("nowhere"), 10.0).await.unwrap();
    assert!(popped.1.contains(r#""type":"result""#), "{}", popped.1);
}
