//! Paused and resumed queues.

use std::time::Instant;

use super::{connection, keys};
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use crate::support::SOON;
use crate::support::held::Held;

async fn pause(conn: &mut MultiplexedConnection) {
    let () = conn.set(keys().paused(), "1").await.unwrap();
    let publish = redis::cmd("SPUBLISH").arg(keys().control()).arg("pause").to_owned();
    let _: i64 = publish.query_async(conn).await.unwrap();
}

#[tokio::test]
async fn paused_queue_keeps_requests_and_resumes_within_a_second() {
    let bench = Bench::new().await;
    let _workers = [bench.worker().await, bench.worker().await];
    let mut conn = connection(&bench).await;
    let client = bench.client().await;
    pause(&mut conn).await;
    let tickets = [1, 2, 3].map(|n| client.request("echo").data(&n).submit());
    let tickets = futures_util::future::try_join_all(tickets).await.unwrap();
    // A blocked pop may take one, and has to give it back; nothing starts, nothing is lost.
    eventually("all requests to lie in the queue", async || {
        let queued: usize = conn.llen(keys().queue()).await.unwrap();
        let live: usize = conn.hlen(keys().live()).await.unwrap();
        (queued == 3 && live == 0).then_some(())
    })
    .await;
    // Another queue is not concerned.
    let other = client.request("echo").queue("high").data(&7).wait().await.unwrap();
    assert_eq!(other.data.get(), "7");
    let queued: usize = conn.llen(keys().queue()).await.unwrap();
    assert_eq!(queued, 3);
    // The message is lost: the worker finds the pause by polling.
    let () = conn.del(keys().paused()).await.unwrap();
    let since = Instant::now();
    for (n, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.wait().await.unwrap().json::<usize>().unwrap(), n + 1);
    }
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

#[tokio::test]
async fn running_job_continues_while_its_queue_is_paused() {
    let (bench, held) = (Bench::new().await, Held::new());
    let _worker = bench.worker_with(|worker| held.on(worker)).await;
    let mut conn = connection(&bench).await;
    let client = bench.client().await;
    let running = client.request("held").submit().await.unwrap();
    held.run(1).await;
    pause(&mut conn).await;
    held.end(1);
    assert_eq!(running.wait().await.unwrap().data.get(), "null");
}

#[tokio::test]
async fn a_worker_that_starts_finds_the_queue_paused() {
    let bench = Bench::new().await;
    let mut conn = connection(&bench).await;
    pause(&mut conn).await;
    let ticket = bench.client().await.request("echo").data(&1).submit().await.unwrap();
    let _worker = bench.worker().await;
    // The worker's first steps precede its poll of another queue.
    bench.client().await.request("echo").queue("low").wait().await.unwrap();
    assert_eq!(conn.llen::<_, usize>(keys().queue()).await.unwrap(), 1);
    let () = conn.del(keys().paused()).await.unwrap();
    let publish = redis::cmd("SPUBLISH").arg(keys().control()).arg("resume").to_owned();
    let _: i64 = publish.query_async(&mut conn).await.unwrap();
    assert_eq!(ticket.wait().await.unwrap().data.get(), "1");
}
