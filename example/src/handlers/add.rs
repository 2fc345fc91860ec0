//! `add`: the smallest possible job.

use redcall_worker::{HandlerError, Json};
use serde::{Deserialize, Serialize};

/// Its data.
#[derive(Deserialize)]
pub(crate) struct Terms {
    a: i64,
    b: i64,
}

/// Its answer.
#[derive(Serialize)]
pub(crate) struct Sum {
    answer: i64,
}

/// `{"a": 1, "b": 2}` -> `{"answer": 3}`
pub(crate) async fn add(Json(Terms { a, b }): Json<Terms>) -> Result<Json<Sum>, HandlerError> {
    let too_large = || HandlerError::new("the sum is too large");
    a.checked_add(b).map(|answer| Json(Sum { answer })).ok_or_else(too_large)
}
