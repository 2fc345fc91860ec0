//! `log_visit`: fire and forget. Its caller does not wait; the worker's log is where it shows.

use redcall_worker::Json;
use serde::Deserialize;

/// What it takes.
#[derive(Deserialize)]
pub(crate) struct Visit {
    visitor: String,
    files: u64,
}

/// `{"visitor": "…", "files": 3}` -> a line in the log
pub(crate) async fn log_visit(Json(Visit { visitor, files }): Json<Visit>) {
    tracing::info!(visitor, files, "visited");
}
