//! Connections that break under load. The fault proxy of a later release attacks more precisely.

use redcall_tests::Bench;
use serde_json::json;

use crate::support::held::Held;

use crate::support::cut;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waited_calls_are_answered_despite_broken_connections() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let mut conn = bench.redis.connection().await;
    for round in 0..10 {
        let calls = (0..500).map(|n| client.request("add").data(&json!({"a": n, "b": round})));
        let calls = tokio::spawn({
            let client = client.clone();
            let calls: Vec<_> = calls.collect();
            async move { client.wait_many(calls).await }
        });
        let first = client.call_and_wait("echo", &round).await;
        assert!(first.is_ok(), "{first:?}");
        assert!(cut(&mut conn, "redcall-worker-").await >= 2);
        for (n, answer) in calls.await.unwrap().into_iter().enumerate() {
            let answer = answer.unwrap();
            assert_eq!(answer.data.get(), format!(r#"{{"answer":{}}}"#, n + round));
        }
    }
    let left: Vec<String> =
        redis::cmd("KEYS").arg("*:leases:*").query_async(&mut conn).await.unwrap();
    assert_eq!(left, [""; 0], "leases without a job");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_survive_a_broken_connection_of_the_client() {
    let (bench, held) = (Bench::new().await, Held::new());
    let _worker = bench.worker_with(|worker| held.on(worker)).await;
    let client = bench.client().await;
    let mut conn = bench.redis.connection().await;
    let calls = (0..50).map(|_| client.request("held"));
    let calls: Vec<_> = calls.collect();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.wait_many(calls).await }
    });
    held.run(50).await;
    assert!(cut(&mut conn, "redcall-client-").await >= 1);
    held.end(50);
    for answer in waiting.await.unwrap() {
        answer.unwrap();
    }
    client.call_and_wait("echo", "again").await.unwrap();
}
