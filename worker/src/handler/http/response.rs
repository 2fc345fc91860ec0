//! The response of a request: its bounded body, as an answer or as an error.

use std::time::{Duration, SystemTime};

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, StatusCode};
use redcall_common::error::Code;
use redcall_store::refused_certificate;
use serde_json::value::RawValue;

use super::connection::{INTERIM, SendError};
use super::tried::Tried;
use crate::handler::bounds::Bounds;
use crate::handler::error::{HandlerError, HandlerResult};

/// Most of an error's body that the caller gets, bytes.
const SHOWN: usize = 1 << 10;
/// Largest body of an error that is read, bytes.
pub(super) const REFUSAL: usize = 64 << 10;
/// Most pieces of a body, in addition to one for each [`PIECE`] bytes: each wakes two tasks.
const PIECES: usize = 16_384;
const PIECE: usize = 64;

/// Reads a body of up to `max` bytes.
pub(super) async fn read(
    mut body: Incoming,
    max: usize,
    tried: &Tried,
) -> Result<Vec<u8>, HandlerError> {
    let (mut bytes, mut pieces) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| lost(tried, "broke off", &error))?;
        // Trailers are ignored.
        let chunk = frame.into_data().unwrap_or_else(|_| Bytes::new());
        if bytes.len() + chunk.len() > max {
            let message = format!("the response has more than {max} bytes (limits.answer)");
            return Err(HandlerError::with_code(Code::TooLarge, message));
        }
        bytes.extend_from_slice(&chunk);
        pieces += 1;
        if pieces > PIECES + bytes.len() / PIECE {
            let (length, size) = (bytes.len(), PIECE);
            let message = format!(
                "{} sent {length} bytes in {pieces} pieces: beyond {PIECES} pieces, each has \
                 to have {size} bytes on average",
                tried.host
            );
            return Err(HandlerError::new(message));
        }
    }
    Ok(bytes)
}

/// Returns the answer in a body.
pub(super) fn answer(body: &[u8]) -> HandlerResult {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(RawValue::NULL.to_owned());
    }
    serde_json::from_slice::<Box<RawValue>>(body)
        .map_err(|error| HandlerError::new(format!("the response is not JSON: {error}")))
}

/// Returns the error of a request without a response.
pub(super) fn unsent(tried: &Tried, error: SendError) -> HandlerError {
    match error {
        SendError::Broken(error) if refused_certificate(&error) => {
            lost(tried, "is not trusted: its certificate was refused", &error)
        }
        SendError::Broken(error) if error.is_connect() => lost(tried, "cannot be reached", &error),
        SendError::Broken(error) => lost(tried, "broke off", &error),
        SendError::Flooded => {
            let host = &tried.host;
            HandlerError::new(format!("{host} sent more than {INTERIM} 1xx responses"))
        }
    }
}

fn lost(tried: &Tried, what: &str, error: &dyn std::error::Error) -> HandlerError {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    HandlerError::new(format!("{} {what} {}: {cause}", tried.host, tried.way())).caused_by(error)
}

/// Returns the error of a response with an error status.
pub(super) fn refused(
    tried: &Tried,
    status: StatusCode,
    body: &[u8],
    again: Option<Duration>,
    bounds: Bounds,
) -> HandlerError {
    let code = code_of(status);
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    // The status may be the proxy's.
    let way = tried.proxy.as_ref().map(|_| format!(" {}", tried.way())).unwrap_or_default();
    let mut error = HandlerError::with_code(code, format!("HTTP status {status}{way}"));
    error = match serde_json::from_slice::<Box<RawValue>>(body) {
        Ok(json) if bounds.is_shallow_detail(json.get()) => error.data(&json),
        Err(_) if text.trim().is_empty() => error,
        Ok(_) | Err(_) => error.data(text.trim()),
    };
    match again.filter(|_| code == Code::Overloaded) {
        Some(after) => error.retry_after(after),
        None => error,
    }
}

/// Returns the code for a status.
fn code_of(status: StatusCode) -> Code {
    match status.as_u16() {
        400 | 422 => Code::InvalidData,
        401 | 403 => Code::Unauthorized,
        404 | 410 => Code::NotFound,
        408 | 504 => Code::Timeout,
        409 => Code::Conflict,
        413 => Code::TooLarge,
        429 | 503 => Code::Overloaded,
        _ => Code::HandlerFailed,
    }
}

/// Returns the delay before a retry that the response requests, in seconds or as a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}
