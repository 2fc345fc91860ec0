//! What a handler cannot do with its data, or does wrong: the caller hears it, the worker goes on.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use redcall_client::Code;
use redcall_tests::Bench;
use redcall_worker::{HandlerError, Json, Request, Worker};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Foreign, WAYS, error_frame, failed, waited};

#[derive(Deserialize)]
struct Order {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    price: u64,
}

async fn total(Json(order): Json<Order>) -> Json<u64> {
    Json(order.items.iter().map(|item| item.price).sum())
}

async fn refuse() -> Result<(), HandlerError> {
    Err(HandlerError::new("no \"more\"\n").data(&json!({"left": 0})))
}

async fn read_a_file() -> Result<(), HandlerError> {
    Err(std::io::Error::other("the file is gone"))?;
    Ok(())
}

async fn panic_at_once() {
    panic!("at once");
}

async fn panic_later() {
    tokio::task::yield_now().await;
    panic!("later, with {}", "a String");
}

fn panic_blocking() {
    std::panic::panic_any(7_u8);
}

async fn large(request: Request, Json(size): Json<usize>) -> Json<String> {
    assert_eq!(request.attempt(), 1);
    Json("x".repeat(size))
}

fn build(worker: Worker) -> Worker {
    worker
        .handler("total", total)
        .handler("refuse", refuse)
        .handler("read_a_file", read_a_file)
        .handler("panic_at_once", panic_at_once)
        .handler("panic_later", panic_later)
        .blocking_handler("panic_blocking", panic_blocking)
        .handler("large", large)
}

async fn foreign() -> Foreign {
    let mut bench = Bench::new().await;
    bench.settings.limits.answer = 1000;
    Foreign::with(bench, build).await
}

#[tokio::test]
async fn data_that_does_not_fit_is_told_with_its_path() {
    let mut foreign = foreign().await;
    for (name, data, path, message) in [
        (
            "total",
            r#"{"items":[{"price":1},{"price":"two"}]}"#,
            "items[1].price",
            "invalid type: string \"two\", expected u64 at line 1 column 36",
        ),
        (
            "total",
            r#"{"items":[{"price":1},{}]}"#,
            "items[1]",
            "missing field `price` at line 1 column 24",
        ),
        ("total", "{}", ".", "missing field `items` at line 1 column 2"),
        (
            "total",
            "[7]",
            "[0]",
            "invalid type: integer `7`, expected a sequence at line 1 column 2",
        ),
        (
            "add",
            r#"{"a":1,"b":[]}"#,
            "b",
            "invalid type: sequence, expected a JSON number at line 1 column 13",
        ),
    ] {
        let message = format!("data at `{path}`: {message}");
        let rest = format!(r#","data":{{"path":"{path}"}},"attempt":1"#);
        let frame = error_frame("x1", Code::InvalidData, &message, &rest);
        foreign.is_answered(waited("x1", name, data, ""), "x1", &frame).await;
    }
}

#[tokio::test]
async fn a_handlers_error_reaches_the_caller_with_its_data() {
    let mut foreign = foreign().await;
    let rest = r#","data":{"left":0},"attempt":1"#;
    let frame = error_frame("x1", Code::HandlerFailed, "no \"more\"\n", rest);
    foreign.is_answered(waited("x1", "refuse", "null", ""), "x1", &frame).await;
    let frame = error_frame("x1", Code::HandlerFailed, "the file is gone", r#","attempt":1"#);
    foreign.is_answered(waited("x1", "read_a_file", "null", ""), "x1", &frame).await;
    let frame = error_frame("x1", Code::HandlerFailed, "on purpose", r#","attempt":1"#);
    let raw = waited("x1", "fail", r#"{"message":"on purpose"}"#, "");
    foreign.is_answered(raw, "x1", &frame).await;
}

#[tokio::test]
async fn our_client_gives_a_handlers_error_with_code_message_and_data() {
    let foreign = foreign().await;
    let error = failed(foreign.client.call_and_wait("refuse", &Value::Null).await);
    assert_eq!((error.code, &*error.message), (Code::HandlerFailed, "no \"more\"\n"));
    assert_eq!((error.data.unwrap().get(), error.attempt), (r#"{"left":0}"#, Some(1)));
}

#[tokio::test]
async fn a_handler_that_panics_is_answered_without_the_panics_text() {
    let mut foreign = foreign().await;
    for name in ["panic_at_once", "panic_later", "panic_blocking"] {
        let message = "the handler panicked";
        let frame = error_frame("x1", Code::HandlerPanicked, message, r#","attempt":1"#);
        foreign.is_answered(waited("x1", name, "null", ""), "x1", &frame).await;
    }
}

#[tokio::test]
async fn an_answer_over_the_limit_is_an_error() {
    let mut foreign = foreign().await;
    let message = "the answer has 1001 bytes, the limit is 1000";
    let frame = error_frame("x1", Code::TooLarge, message, r#","attempt":1"#);
    foreign.is_answered(waited("x1", "large", "999", ""), "x1", &frame).await;
    let answer = foreign.client.call_and_wait("large", &998).await.unwrap();
    assert_eq!(answer.data.get().len(), 1000);
}

#[tokio::test]
async fn the_errors_that_nobody_waits_for_are_buried() {
    let mut foreign = foreign().await;
    for (name, data, code, reason) in [
        ("refuse", "null", "handler_failed", "no \"more\"\n"),
        ("panic_later", "null", "handler_panicked", "the handler panicked"),
        (
            "total",
            "[]",
            "invalid_data",
            "data at `.`: invalid length 0, expected struct Order with 1 element at line 1 \
             column 2",
        ),
    ] {
        let raw = format!(r#"{{"id":"x1","name":"{name}","data":{data}}}"#);
        for way in WAYS {
            foreign.push(way, &raw).await;
            let letter = foreign.dead_letter().await;
            assert_eq!((&*letter.id, &*letter.code, &*letter.reason), ("x1", code, reason));
            assert_eq!(letter.request, raw.as_bytes());
            foreign.goes_on().await;
        }
    }
}
