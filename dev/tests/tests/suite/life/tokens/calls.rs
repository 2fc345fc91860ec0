//! Idempotency: the calls of each key are its own.

use redcall_client::{Client, Code};
use redcall_tests::Bench;
use serde_json::Value;

use super::{Runs, auth, client, signing, worker};

/// Two clients of one ring, each with a key of its own; `batch` may call these jobs.
async fn two(bench: &mut Bench, jobs: &str) -> (Client, Client) {
    let ring = |key| auth(&[("web", "*"), ("batch", jobs)], Some(key));
    bench.settings.auth = Some(ring("web"));
    (client(bench, Some(ring("web"))).await, client(bench, Some(ring("batch"))).await)
}

fn call(client: &Client, data: &str) -> redcall_client::RequestBuilder {
    client.request("counted").data(data).idempotency_key("order 7")
}

#[tokio::test]
async fn calls_of_two_keys_are_not_the_same() {
    let mut bench = signing().await;
    let (web, batch) = two(&mut bench, "*").await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    assert_eq!(call(&batch, "x").wait().await.unwrap().data.get(), "\"ran\"");
    // Neither the end of the other one, nor a conflict with it.
    assert_eq!(call(&web, "x").wait().await.unwrap().data.get(), "\"ran\"");
    assert_eq!(runs.count(), 2);
    assert_eq!(call(&web, "y").wait().await.unwrap_err().code(), Code::Conflict);
    assert_eq!(call(&batch, "x").wait().await.unwrap().data.get(), "\"ran\"");
    assert_eq!(runs.count(), 2);
}

#[tokio::test]
async fn key_that_may_not_call_a_job_claims_no_call_of_another() {
    let mut bench = signing().await;
    let (web, batch) = two(&mut bench, "echo").await;
    let claimed = call(&batch, "x").send().await.unwrap();
    let own = call(&web, "x").submit().await.unwrap();
    assert_ne!(claimed.id, own.id);
    let again = call(&web, "x").send().await.unwrap();
    assert!(again.deduplicated && again.id == own.id, "calls of one key are still the same");
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    assert_eq!(own.wait().await.unwrap().data.get(), "\"ran\"");
    assert_eq!(runs.count(), 1);
}

/// The worker finds the same record as the client: also callers that queue without a check.
#[tokio::test]
async fn pushed_requests_of_two_keys_are_claimed_apart() {
    let mut bench = signing().await;
    let (web, batch) = two(&mut bench, "*").await;
    let mut conn = super::connection(&bench).await;
    let mut elements = Vec::new();
    for client in [&web, &batch, &web] {
        call(client, "x").submit().await.unwrap();
        let taken: Option<String> =
            redis::AsyncCommands::lpop(&mut conn, super::keys().queue(), None).await.unwrap();
        elements.extend(taken);
        let records: Vec<String> =
            redis::AsyncCommands::keys(&mut conn, super::keys().idem("*")).await.unwrap();
        for record in records {
            let () = redis::AsyncCommands::del(&mut conn, record).await.unwrap();
        }
    }
    assert_eq!(elements.len(), 3);
    let runs = Runs::default();
    for element in &elements {
        let element: Value = serde_json::from_str(element).unwrap();
        super::push(&mut conn, &element).await;
    }
    let _worker = worker(&bench, &runs).await;
    for element in &elements {
        let element: Value = serde_json::from_str(element).unwrap();
        let id = element["id"].as_str().unwrap();
        redcall_testkit::eventually("its answer", async || {
            let key = super::response_key(id);
            let last: Option<String> =
                redis::AsyncCommands::lindex(&mut conn, key, -1).await.unwrap();
            last.filter(|last| last.contains(r#""type":"result""#))
        })
        .await;
    }
    assert_eq!(runs.count(), 2);
}
