//! Records that workers leave at Redis for each other: states of services, deferred requests.

use std::time::Duration;

use redcall_client::{Code, CompletionToken, SettleError};
use redcall_common::keys::{Keys, QueueKeys};
use redcall_tests::{Bench, counter, counter_service};
use redcall_worker::{HandlerError, Request, State};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::{connection, job, keys};
use super::{auth, client, signing};
use crate::support::failed;

async fn counting() -> Bench {
    let mut bench = signing().await;
    bench.settings.jobs.clear();
    bench.settings.services.insert("counter".to_owned(), counter_service());
    bench
}

fn of_service() -> QueueKeys {
    Keys::new("redcall").of("service:counter")
}

#[tokio::test]
async fn forged_state_reaches_no_handler() {
    let bench = counting().await;
    let _worker = bench.worker_with(counter).await;
    let caller = bench.client().await;
    let mut conn = connection(&bench).await;
    let [one, other] = ["one", "other"].map(|name| caller.service("counter").instance(name));
    for service in [&one, &other] {
        service.initialize(&1_000).await.unwrap();
        service.execute(&json!({"by": 5})).await.unwrap();
    }
    one.execute(&json!({"by": 5})).await.unwrap();
    let key = of_service().state("one");
    type State = Vec<(String, String)>;
    let (true_one, of_other): (State, State) = (
        conn.hgetall(&key).await.unwrap(),
        conn.hgetall(of_service().state("other")).await.unwrap(),
    );
    let forged = json!({"value": 9, "requests": 0}).to_string();
    let with = |field: &str, value: &str| vec![(field.to_owned(), value.to_owned())];
    for altered in [with("state", &forged), with("version", "7"), of_other] {
        let () = conn.hset_multiple(&key, &altered).await.unwrap();
        let error = failed(one.execute(&json!({"by": 1})).await);
        assert_eq!(error.code, Code::Internal, "{altered:?}");
        assert!(error.message.contains("was changed in Redis"), "{error}");
        assert_eq!(failed(one.terminate(&()).await).code, Code::Internal);
        one.state(Duration::from_secs(5)).await.unwrap_err();
        let () = conn.hset_multiple(&key, &true_one).await.unwrap();
    }
    // A neighbour takes the seal away.
    let () = conn.del(&key).await.unwrap();
    let bare: State = true_one
        .iter()
        .filter(|(field, _)| field == "state" || field == "version")
        .cloned()
        .collect();
    let () = conn.hset_multiple(&key, &bare).await.unwrap();
    assert_eq!(failed(one.execute(&json!({"by": 1})).await).code, Code::Internal);
    let () = conn.hset_multiple(&key, &true_one).await.unwrap();
    assert_eq!(one.execute(&json!({"by": 1})).await.unwrap().data.get(), "1011");
    one.terminate(&()).await.unwrap();
    assert!(!conn.exists::<_, bool>(&key).await.unwrap());
}

#[tokio::test]
async fn state_under_a_key_that_may_not_call_the_service_is_forged() {
    let mut bench = counting().await;
    let narrow = [("web", "*"), ("batch", "echo")];
    // Where `batch` may call it, it leaves a state under its key.
    bench.settings.auth = Some(auth(&[("web", "*"), ("batch", "*")], Some("web")));
    let running = bench.worker_with(counter).await;
    let batch = client(&bench, Some(auth(&narrow, Some("batch")))).await;
    batch.service("counter").initialize(&1).await.unwrap();
    running.drain().await;
    bench.settings.auth = Some(auth(&narrow, Some("web")));
    let _worker = bench.worker_with(counter).await;
    let web = client(&bench, Some(auth(&narrow, Some("web")))).await;
    let refused = failed(web.service("counter").execute(&json!({"by": 1})).await);
    assert_eq!(refused.code, Code::Internal);
}

type Tokens = mpsc::UnboundedSender<CompletionToken>;

async fn defers(request: Request, tokens: State<Tokens>) -> Result<(), HandlerError> {
    tokens.send(request.defer(&"soon", None).await?)?;
    Ok(())
}

#[tokio::test]
async fn forged_record_of_a_deferred_request_settles_nothing() {
    let mut bench = signing().await;
    bench.settings.jobs.clear();
    job(&mut bench, "defers");
    let (leave, mut tokens) = mpsc::unbounded_channel();
    let _worker =
        bench.worker_with(|worker| worker.state::<Tokens>(leave).handler("defers", defers)).await;
    let caller = bench.client().await;
    let mut conn = connection(&bench).await;
    let ticket = caller.request("defers").idempotency_key("order 7").submit().await.unwrap();
    let token = tokens.recv().await.unwrap();
    let record = keys().deferred(token.id());
    let call = "5e".repeat(32);
    for (field, value) in [
        ("call", &*call),
        ("attempt", "9"),
        ("seq", "9"),
        ("name", "another"),
        ("nonce", "another"),
        ("event", "1"),
        ("key", ""),
        ("seal", ""),
    ] {
        let before: Option<String> = conn.hget(&record, field).await.unwrap();
        let () = if value.is_empty() {
            conn.hdel(&record, field).await.unwrap()
        } else {
            conn.hset(&record, field, value).await.unwrap()
        };
        let refused = caller.settle(&token, Ok(json!("forged"))).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthorized, "{field}: {refused}");
        assert!(matches!(refused, SettleError::Forged), "{field}: {refused}");
        let () = match before {
            Some(before) => conn.hset(&record, field, before).await.unwrap(),
            None => conn.hdel(&record, field).await.unwrap(),
        };
    }
    assert!(caller.settle(&token, Ok(json!("true"))).await.unwrap());
    let answer: Value = ticket.wait().await.unwrap().json().unwrap();
    assert_eq!(answer, json!("true"));
}
