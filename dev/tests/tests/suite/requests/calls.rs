//! Calling and waiting, as the README promises it.

use std::time::Duration;

use redcall_client::{Code, Update};
use redcall_tests::Bench;
use redcall_worker::{HandlerError, Json, Request, State};
use serde_json::{Value, json};

use crate::support::held::Held;

#[tokio::test]
async fn a_waited_call_is_answered_through_the_mapping() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let response = client.call_and_wait("add", &json!({"a": 1, "b": 1})).await.unwrap();
    assert_eq!(response.data.get(), r#"{"answer":2}"#);
    assert!(response.response_key.ends_with(&format!("{{default}}:response:{}", response.id)));
}

#[tokio::test]
async fn respond_settles_and_the_first_answer_wins() {
    async fn twice(request: Request) -> Json<&'static str> {
        assert!(request.respond("first").await.unwrap());
        assert!(!request.respond("second").await.unwrap());
        Json("third")
    }
    let bench = Bench::new().await;
    let _worker = bench.worker_with(|worker| worker.handler("twice", twice)).await;
    let response = bench.client().await.call_and_wait("twice", &()).await.unwrap();
    assert_eq!(response.json::<String>().unwrap(), "first");
}

#[tokio::test]
async fn handlers_share_state_and_take_typed_data() {
    async fn scaled(factor: State<u64>, Json(n): Json<u64>) -> Json<u64> {
        Json(*factor * n)
    }
    let bench = Bench::new().await;
    let build = |worker: redcall_worker::Worker| worker.state(7_u64).handler("scaled", scaled);
    let _worker = bench.worker_with(build).await;
    let client = bench.client().await;
    let response = client.call_and_wait("scaled", &6).await.unwrap();
    assert_eq!(response.json::<u64>().unwrap(), 42);
    let error = client.call_and_wait("scaled", "six").await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidData);
}

#[tokio::test]
async fn a_stream_yields_progress_in_order_and_then_the_answer() {
    async fn steps(request: Request, Json(n): Json<u64>) -> Result<Json<u64>, HandlerError> {
        for step in 0..n {
            request.progress(&step).await?;
        }
        Ok(Json(n))
    }
    let bench = Bench::new().await;
    let _worker = bench.worker_with(|worker| worker.handler("steps", steps)).await;
    let client = bench.client().await;
    let mut stream = client.request("steps").data(&300).stream().await.unwrap();
    let mut seen = 0;
    while let Some(update) = stream.next().await {
        match update.unwrap() {
            Update::Progress(step) => {
                assert_eq!(step.get(), seen.to_string());
                seen += 1;
            }
            Update::Done(response) => assert_eq!(response.data.get(), "300"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, 300);
}

#[tokio::test]
async fn a_submitted_request_is_fetched_by_another_client_once() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let (here, there) = (bench.client().await, bench.client().await);
    let ticket = here.request("sleep").data(&json!({"ms": 100})).submit().await.unwrap();
    let response = there.fetch(&ticket.response_key).await.unwrap();
    assert_eq!((response.data.get(), response.id), ("null", ticket.id.clone()));
    redcall_testkit::eventually("the taken answer to be deleted", async || {
        let again = there.fetch(&ticket.response_key).await;
        again.is_err_and(|error| error.code() == Code::NotFound).then_some(())
    })
    .await;
}

#[tokio::test]
async fn batches_are_answered_in_order() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let requests = (0..2000).map(|n| client.request("echo").data(&n));
    let responses = client.wait_many(requests).await;
    for (n, response) in responses.into_iter().enumerate() {
        assert_eq!(response.unwrap().json::<usize>().unwrap(), n);
    }
    let requests = (0..2000).map(|n| client.request("echo").data(&n));
    assert!(client.call_many(requests).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn wait_ends_at_its_timeout_and_expired_request_never_starts() {
    let (mut bench, held) = (Bench::new().await, Held::new());
    bench.settings.worker.concurrency = 1;
    let _worker = bench.worker_with(|worker| held.on(worker)).await;
    let client = bench.client().await;
    let busy = client.request("held").submit().await.unwrap();
    held.run(1).await;
    // Time enough to be queued on a machine that stops processes for a moment.
    let late = client.request("echo").data(&Value::Null).timeout(Duration::from_secs(1));
    let error = late.wait().await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert!(error.may_be_queued());
    held.end(1);
    assert_eq!(busy.wait().await.unwrap().data.get(), "null");
}

#[tokio::test]
async fn whole_numbers_are_added_exactly_whatever_their_size() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let nines = "9".repeat(1000);
    let sum = format!("1{}", "0".repeat(1000));
    for (a, b, answer) in [
        ("18446744073709551615", "1", "18446744073709551616"),
        ("18446744073709551616", "-1", "18446744073709551615"),
        ("9223372036854775808", "-9223372036854775809", "-1"),
        ("9007199254740993", "0", "9007199254740993"),
        ("-18446744073709551616", "-18446744073709551616", "-36893488147419103232"),
        ("-5", "5", "0"),
        ("-0", "-0", "0"),
        ("1.5", "2", "3.5"),
        (&nines, "1", &sum),
        (&sum, "-1", &nines),
    ] {
        let data = format!(r#"{{"a":{a},"b":{b}}}"#);
        let data = serde_json::value::RawValue::from_string(data).unwrap();
        let response = client.call_and_wait("add", &data).await.unwrap();
        assert_eq!(response.data.get(), format!(r#"{{"answer":{answer}}}"#), "{a} + {b}");
    }
}
