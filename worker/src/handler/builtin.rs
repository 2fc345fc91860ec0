//! The built-in handlers: for a first try, probes and benches.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Number;
use serde_json::value::RawValue;

use super::compiled::compiled;
use super::{Handler, HandlerError};
use crate::extract::Json;

/// The prefix of built-in handlers in the job mapping.
pub(crate) const PREFIX: &str = "builtin:";

/// Their names, without the prefix.
pub(crate) const NAMES: [&str; 4] = ["echo", "add", "sleep", "fail"];

/// The built-in handler `name` (without the prefix), if there is one.
pub(crate) fn find(name: &str) -> Option<Box<dyn Handler>> {
    Some(match name {
        "echo" => compiled(echo),
        "add" => compiled(add),
        "sleep" => compiled(sleep),
        "fail" => compiled(fail),
        _ => return None,
    })
}

/// Answers its data.
async fn echo(Json(data): Json<Box<RawValue>>) -> Json<Box<RawValue>> {
    Json(data)
}

#[derive(Deserialize)]
struct Terms {
    a: Number,
    b: Number,
}

#[derive(Serialize)]
struct Sum {
    answer: Number,
}

/// `{"a": 1, "b": 2}` -> `{"answer": 3}`. Whole numbers stay whole.
async fn add(Json(Terms { a, b }): Json<Terms>) -> Result<Json<Sum>, HandlerError> {
    let whole = a.as_i64().zip(b.as_i64()).and_then(|(a, b)| a.checked_add(b));
    let answer = whole.map(Number::from).or_else(|| Number::from_f64(a.as_f64()? + b.as_f64()?));
    let answer = answer.ok_or_else(|| HandlerError::new("the sum is not a number"))?;
    Ok(Json(Sum { answer }))
}

#[derive(Deserialize)]
struct Nap {
    ms: u64,
}

/// `{"ms": 100}` -> `null`, that much later.
async fn sleep(Json(Nap { ms }): Json<Nap>) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    message: String,
}

/// `{"message": "..."}` -> the error `handler_failed`.
async fn fail(Json(Failure { message }): Json<Failure>) -> Result<(), HandlerError> {
    Err(HandlerError::new(message))
}
