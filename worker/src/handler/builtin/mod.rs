//! The built-in handlers, for a first try, probes and benchmarks.

mod sum;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::sum::Term;
use super::compiled::compiled;
use super::error::HandlerError;
use super::interface::Handler;
use crate::handler::compiled::extract::Json;
use crate::run::request::Request;

/// The prefix of built-in handlers in the job mapping.
pub(crate) const PREFIX: &str = "builtin:";

/// Their names, without the prefix.
pub(crate) const NAMES: [&str; 5] = ["echo", "add", "sleep", "fail", "count"];

/// Returns the built-in handler `name` (without the prefix), if it exists.
pub(crate) fn find(name: &str) -> Option<Box<dyn Handler>> {
    Some(match name {
        "echo" => compiled(echo),
        "add" => compiled(add),
        "sleep" => compiled(sleep),
        "fail" => compiled(fail),
        "count" => compiled(count),
        _ => return None,
    })
}

/// Returns its data.
async fn echo(Json(data): Json<Box<RawValue>>) -> Json<Box<RawValue>> {
    Json(data)
}

#[derive(Deserialize)]
struct Terms {
    a: Term,
    b: Term,
}

#[derive(Serialize)]
struct Sum {
    answer: Box<RawValue>,
}

/// `{"a": 1, "b": 2}` -> `{"answer": 3}`. Whole numbers of any size are added exactly.
async fn add(Json(Terms { a, b }): Json<Terms>) -> Result<Json<Sum>, HandlerError> {
    let no_number = || HandlerError::new("the sum is not a number");
    let text = sum::of(a.text(), b.text()).ok_or_else(no_number)?;
    Ok(Json(Sum { answer: RawValue::from_string(text)? }))
}

#[derive(Deserialize)]
struct Nap {
    ms: u64,
}

/// `{"ms": 100}` -> `null`, after that time.
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

#[derive(Deserialize)]
struct Count {
    to: u64,
    #[serde(default)]
    size: u16,
}

/// `{"to": 3}` -> the parts 1, 2 and 3, then the answer 3. With a `size`, each part is a string of
/// that length, which ends with the number.
async fn count(
    request: Request,
    Json(Count { to, size }): Json<Count>,
) -> Result<Json<u64>, HandlerError> {
    for number in 1..=to {
        match size {
            0 => request.chunk(&number).await?,
            size => request.chunk(&format!("{number:0>width$}", width = size.into())).await?,
        }
    }
    Ok(Json(to))
}
