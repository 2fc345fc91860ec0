//! A compiled handler returns or sends data that nest deeper than a frame may: readers of many
//! languages fail on such.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::time::Duration;

use redcall_client::{Client, Code, EventError, Kind, Update};
use redcall_common::settings::{HandlerSettings, JobSettings, ServiceSettings, ServiceTasks};
use redcall_tests::{Bench, RunningWorker};
use redcall_worker::{DeferError, HandlerError, Json, ProgressError, Request};
use serde_json::json;
use serde_json::value::RawValue;

use crate::support::failed;

/// As many levels as an answer may have: its frame is one of the 64.
const MAX: usize = 63;

fn nested(levels: usize) -> Box<RawValue> {
    RawValue::from_string(format!("{}{}", "[".repeat(levels), "]".repeat(levels))).unwrap()
}

async fn answer(Json(levels): Json<usize>) -> Json<Box<RawValue>> {
    Json(nested(levels))
}

fn answer_blocking(Json(levels): Json<usize>) -> Json<Box<RawValue>> {
    Json(nested(levels))
}

async fn respond(request: Request, Json(levels): Json<usize>) -> Result<(), HandlerError> {
    request.respond(&nested(levels)).await?;
    Ok(())
}

async fn parts(request: Request) -> Result<(), HandlerError> {
    request.progress(&nested(MAX)).await?;
    request.chunk(&nested(MAX)).await?;
    for pushed in [request.progress(&nested(MAX + 1)).await, request.chunk(&nested(MAX + 1)).await]
    {
        assert!(matches!(pushed, Err(ProgressError::TooDeep { limit: 64 })), "{pushed:?}");
    }
    Ok(())
}

async fn defer(request: Request) -> Result<(), HandlerError> {
    let deferred = request.defer(&nested(MAX + 1), None).await;
    assert!(matches!(deferred, Err(DeferError::TooDeep { limit: 64 })), "{deferred:?}");
    request.defer(&nested(MAX), None).await?;
    Ok(())
}

async fn refuse(Json(levels): Json<usize>) -> Result<(), HandlerError> {
    Err(HandlerError::new("no").data(&nested(levels)))
}

/// A service whose state nests as deep as its data request.
async fn keep(data: Json<serde_json::Value>) -> Json<serde_json::Value> {
    let levels = usize::try_from(data.0["args"].as_u64().unwrap()).unwrap();
    Json(json!({"state": nested(levels), "answer": levels}))
}

async fn served() -> (Bench, RunningWorker, Client) {
    let mut bench = Bench::new().await;
    let mut job = JobSettings::new(HandlerSettings::Compiled("refuse_again".to_owned()));
    (job.retries.max, job.retries.base) = (1, Duration::from_millis(1));
    bench.settings.jobs.insert("refuse_again".to_owned(), job);
    let (init, exit) = (Some("keep".to_owned()), None);
    let tasks = ServiceTasks::Compiled { init, execute: "keep".to_owned(), exit };
    bench.settings.services.insert("kept".to_owned(), ServiceSettings::new(tasks));
    let worker = bench.worker_with(|worker| {
        worker
            .handler("answer", answer)
            .blocking_handler("answer_blocking", answer_blocking)
            .handler("respond", respond)
            .handler("parts", parts)
            .handler("defer", defer)
            .handler("refuse", refuse)
            .handler("refuse_again", refuse)
            .handler("keep", keep)
    });
    let (worker, client) = (worker.await, bench.client().await);
    (bench, worker, client)
}

#[tokio::test]
async fn answer_of_a_compiled_handler_that_nests_too_deep_is_too_large() {
    let (_bench, _worker, client) = served().await;
    for name in ["answer", "answer_blocking", "respond"] {
        let fits = client.call_and_wait(name, &MAX).await.unwrap();
        assert_eq!(fits.data.get(), nested(MAX).get(), "{name}");
        // Also where the answer is far longer than the limit has levels.
        for levels in [MAX + 1, 500_000] {
            let error = failed(client.call_and_wait(name, &levels).await);
            assert_eq!(error.code, Code::TooLarge, "{name}");
            assert!(error.message.contains("deeper than 64 levels"), "{error}");
        }
    }
}

#[tokio::test]
async fn part_that_nests_too_deep_is_not_sent() {
    let (_bench, _worker, client) = served().await;
    let mut stream = client.request("parts").stream().await.unwrap();
    let mut seen = Vec::new();
    while let Some(update) = stream.next().await {
        seen.push(match update.unwrap() {
            Update::Progress(data) | Update::Chunk(data) => data.get().len() / 2,
            Update::Done(_) => 0,
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, [MAX, MAX, 0]);
    let mut stream = client.request("defer").stream().await.unwrap();
    let Update::Deferred { data, .. } = stream.next().await.unwrap().unwrap() else {
        panic!("no notice")
    };
    assert_eq!(data.get().len() / 2, MAX);
}

#[tokio::test]
async fn error_data_that_nest_too_deep_are_omitted() {
    let (_bench, _worker, client) = served().await;
    // An error is a level of its frame as well, and the notice of a retry another one.
    for (levels, kept) in [(MAX - 1, true), (MAX, false)] {
        let error = failed(client.call_and_wait("refuse", &levels).await);
        assert_eq!((error.code, error.data.is_some()), (Code::HandlerFailed, kept), "{levels}");
    }
    for (levels, kept) in [(MAX - 2, true), (MAX - 1, false)] {
        let mut stream = client.request("refuse_again").data(&levels).stream().await.unwrap();
        let Update::Progress(notice) = stream.next().await.unwrap().unwrap() else {
            panic!("no notice")
        };
        assert_eq!(notice.get().contains(r#""data":[["#), kept, "{levels}: {notice}");
    }
}

#[tokio::test]
async fn state_that_nests_too_deep_is_not_kept() {
    let (_bench, _worker, client) = served().await;
    let service = client.service("kept");
    // A task returns it within an object.
    service.initialize(&(MAX - 1)).await.unwrap();
    let error = failed(service.execute(&MAX).await);
    assert_eq!(error.code, Code::TooLarge, "{error}");
    let state = service.state(Duration::from_secs(5)).await.unwrap().unwrap();
    assert_eq!((state.version, state.state.get().len() / 2), (1, MAX - 1));
}

#[tokio::test]
async fn context_of_an_event_that_nests_too_deep_is_refused() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    client.publish("a", Kind::EVENT, &nested(64)).await.unwrap();
    let refused = client.publish("a", Kind::EVENT, &nested(65)).await;
    assert!(matches!(refused, Err(EventError::TooDeep { limit: 64 })), "{refused:?}");
}
