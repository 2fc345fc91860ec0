//! `log_visit`: fire and forget. Its effect is a line in the worker's log.

use redcall_worker::Json;
use serde::Deserialize;

/// Its data.
#[derive(Deserialize)]
pub(crate) struct Visit {
    visitor: String,
    files: u64,
}

/// `{"visitor": "…", "files": 3}` -> a line in the log
pub(crate) async fn log_visit(Json(Visit { visitor, files }): Json<Visit>) {
    tracing::info!(visitor, files, "visited");
}
