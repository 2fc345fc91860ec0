//! Replies that are lost after their effect; the process lives on.
//!
//! Not a kill, but the same moments: effects at Redis without a reply.

use redcall_testkit::eventually;
use serde_json::json;

use super::{MARK, Stage};

/// Loses the reply of `command` that brings the request.
async fn loses_the_fetch_reply(mut stage: Stage, command: &'static str) {
    let worker = stage.cut_off().await;
    let lost = stage.proxy.lose_reply(move |exchange| {
        exchange.request_contains(command) && exchange.reply_contains(MARK)
    });
    let ticket = stage.submit("job", None).await;
    let watch = stage.watch(&ticket).await;
    lost.await;
    stage.is_answered_once(&ticket, watch, 1).await;
    assert_eq!(stage.effects(), [("ran 1".to_owned(), worker.pid())]);
}

#[tokio::test]
async fn lost_reply_to_the_pop_of_a_lane_returns_the_request_and_starts_it() {
    loses_the_fetch_reply(Stage::new().await, "BLMOVE").await;
}

#[tokio::test]
async fn lost_fetch_reply_is_resynchronised_and_started() {
    loses_the_fetch_reply(Stage::without_lanes().await, "EVALSHA").await;
}

#[tokio::test]
async fn lost_fetch_reply_under_load_starts_each_job_once() {
    let mut stage = Stage::new().await;
    let worker = stage.cut_off().await;
    let lost = stage.proxy.lose_reply(|exchange| {
        exchange.request_contains("EVALSHA") && exchange.reply_contains("#99")
    });
    let calls = (0..100).map(|n| {
        let data = json!({ "mark": format!("#{n}") });
        stage.client.request("job").data(&data)
    });
    let waiting = tokio::spawn({
        let (client, calls) = (stage.client.clone(), calls.collect::<Vec<_>>());
        async move { client.wait_many(calls).await }
    });
    lost.await;
    for answer in waiting.await.unwrap() {
        assert_eq!(answer.unwrap().json::<u32>().unwrap(), 1);
    }
    stage.is_quiet().await;
    assert_eq!(stage.effects(), vec![("ran 1".to_owned(), worker.pid()); 100]);
}

#[tokio::test]
async fn lost_settle_reply_is_repeated_as_settled() {
    let mut stage = Stage::new().await;
    let worker = stage.cut_off().await;
    let lost =
        stage.proxy.lose_reply(|exchange| exchange.request_contains("\"type\":\"result\",\"seq\""));
    let ticket = stage.submit("responds", None).await;
    let watch = stage.watch(&ticket).await;
    lost.await;
    stage.has_done("settled 1", &worker).await;
    stage.is_answered_once(&ticket, watch, 1).await;
    let expected = ["ran 1", "settled 1"].map(|what| (what.to_owned(), worker.pid()));
    assert_eq!(stage.effects(), expected);
}

#[tokio::test]
async fn a_lost_reply_on_enqueue_is_reported_as_may_be_queued() {
    let mut stage = Stage::new().await;
    let worker = stage.successor().await;
    let client = stage.bench.client_behind(&stage.proxy).await;
    let lost = stage.proxy.lose_reply(|exchange| exchange.request_contains(MARK));
    let error = client.call("job", &json!({ "mark": MARK })).await.unwrap_err();
    assert!(error.may_be_queued(), "{error:?}");
    lost.await;
    eventually("the job to run", async || (!stage.effects().is_empty()).then_some(())).await;
    // The next call arrives on a new connection; the first one was not sent again.
    let answer = client.call_and_wait("job", &json!({ "mark": "next" })).await.unwrap();
    assert_eq!(answer.json::<u32>().unwrap(), 1);
    stage.is_quiet().await;
    assert_eq!(stage.effects(), vec![("ran 1".to_owned(), worker.pid()); 2]);
}
