//! `/live`, `/ready`, `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::Source;

/// Content types of the metrics.
const OPEN_METRICS: &str = "application/openmetrics-text";
const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN_CONTENT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn router<S: Source>(source: S) -> Router {
    Router::new()
        .route("/live", get(live::<S>))
        .route("/ready", get(ready::<S>))
        .route("/metrics", get(metrics::<S>))
        .with_state(Arc::new(source))
}

async fn live<S: Source>(State(source): State<Arc<S>>) -> Response {
    match source.stalled_for() {
        None => (StatusCode::OK, "live\n").into_response(),
        Some(since) => {
            let since = since.as_millis();
            let text = format!("the I/O loop has stalled for {since} ms\n");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn ready<S: Source>(State(source): State<Arc<S>>) -> Response {
    let (is_ready, body) = source.ready().await;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

async fn metrics<S: Source>(State(source): State<Arc<S>>, headers: HeaderMap) -> Response {
    let wanted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    // The text conforms to both formats.
    let content = if wanted.contains(OPEN_METRICS) { CONTENT } else { PLAIN_CONTENT };
    match source.metrics().await {
        Ok(text) => ([(CONTENT_TYPE, content)], text).into_response(),
        // Unreachable without a bug in the encoder.
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
