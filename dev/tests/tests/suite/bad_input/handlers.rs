//! Handlers that cannot use their data, or misuse it: the caller gets an error, the worker
//! continues.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::BTreeMap;

use redcall_client::Code;
use redcall_tests::Bench;
use redcall_worker::{HandlerError, Json, Request, Worker};
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use crate::support::{Foreign, WAYS, error_frame, failed, result_frame, waited};

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

/// A value without a JSON form, or with a partial one.
struct Odd(String);

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            "map" => BTreeMap::from([((1, 2), 3)]).serialize(to),
            "nan" => [f64::NAN, 1.0].serialize(to),
            "fails" => Err(S::Error::custom("on purpose")),
            how => panic!("{how}"),
        }
    }
}

async fn answer_oddly(Json(how): Json<String>) -> Json<Odd> {
    Json(Odd(how))
}

/// Returns the error of its progress, and that of its own answer.
async fn reply_oddly(request: Request, Json(how): Json<String>) -> Json<[String; 2]> {
    let odd = Odd(how);
    let progress = request.progress(&odd).await.map_err(|error| error.to_string());
    let answer = request.respond(&odd).await.map_err(|error| error.to_string());
    Json([progress.unwrap_err(), answer.unwrap_err()])
}

fn build(worker: Worker) -> Worker {
    worker
        .handler("answer_oddly", answer_oddly)
        .handler("say_oddly", reply_oddly)
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
async fn mismatched_data_is_reported_with_its_path() {
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
            "invalid type: sequence, expected a JSON number at line 1 column 14",
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
async fn unserialisable_answer_is_answered_with_an_error() {
    let mut foreign = foreign().await;
    let panicked = "the handler panicked";
    for (how, code, message) in [
        (
            "map",
            Code::HandlerFailed,
            "the answer cannot be serialised as JSON: key must be a string",
        ),
        ("fails", Code::HandlerFailed, "the answer cannot be serialised as JSON: on purpose"),
        ("panics", Code::HandlerPanicked, panicked),
    ] {
        let frame = error_frame("x1", code, message, r#","attempt":1"#);
        let raw = waited("x1", "answer_oddly", &json!(how).to_string(), "");
        foreign.is_answered(raw, "x1", &frame).await;
    }
    let nan = waited("x1", "answer_oddly", r#""nan""#, "");
    foreign.is_answered(nan, "x1", &result_frame("x1", "[null,1.0]")).await;
    let why = r#"["the data cannot be serialised as JSON","on purpose"]"#;
    let raw = waited("x1", "say_oddly", r#""fails""#, "");
    foreign.is_answered(raw, "x1", &result_frame("x1", why)).await;
}

#[tokio::test]
async fn an_answer_over_the_limit_is_an_error() {
    let mut foreign = foreign().await;
    let message = "the answer has 1001 bytes, the limit is 1000 (limits.answer)";
    let frame = error_frame("x1", Code::TooLarge, message, r#","attempt":1"#);
    foreign.is_answered(waited("x1", "large", "999", ""), "x1", &frame).await;
    let answer = foreign.client.call_and_wait("large", &998).await.unwrap();
    assert_eq!(answer.data.get().len(), 1000);
}

#[tokio::test]
async fn errors_without_caller_are_dead_lettered() {
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
