//! The signed content, byte for byte.
//!
//! Each part has its length in front, so that no two requests have the same bytes.

use std::collections::BTreeMap;

use hmac::Mac;

/// The content that a request's signature covers. It excludes the attempt, because a request that
/// runs again stays the same, and fields that only control its processing.
#[derive(Debug, Clone, Copy)]
pub struct Claims<'a> {
    /// The request's id.
    pub id: &'a str,
    /// The job's name.
    pub name: &'a str,
    /// The queue's name.
    pub queue: &'a str,
    /// The handler's data: the JSON as in the envelope.
    pub data: &'a str,
    /// The response key.
    pub response_key: Option<&'a str>,
    /// The channel for notifications of frames.
    pub notify: Option<&'a str>,
    /// Requests with the same key, name and queue are the same call.
    pub idempotency_key: Option<&'a str>,
    /// Passed to the handler.
    pub headers: &'a BTreeMap<String, String>,
    /// The caller's timeout, ms.
    pub budget_ms: Option<u64>,
    /// When the signature expires, Redis time in ms.
    pub expires_at: u64,
}

/// First part of a request's signed message, which separates requests from other signatures.
const REQUEST: &str = "redcall request 1";

/// Feeds the message to `mac`, without a copy of the data.
pub(super) fn feed(mac: &mut impl Mac, claims: &Claims<'_>) {
    let Claims { id, name, queue, data, response_key, .. } = *claims;
    for text in [REQUEST, id, name, queue, data] {
        part(mac, Some(text));
    }
    for text in [response_key, claims.notify, claims.idempotency_key] {
        part(mac, text);
    }
    part(mac, Some(&claims.headers.len().to_string()));
    for (name, value) in claims.headers {
        part(mac, Some(name));
        part(mac, Some(value));
    }
    part(mac, claims.budget_ms.map(|ms| ms.to_string()).as_deref());
    part(mac, Some(&claims.expires_at.to_string()));
}

/// Feeds the parts of a frame's message to `mac`.
pub(super) fn feed_all<'a>(mac: &mut impl Mac, parts: impl IntoIterator<Item = Option<&'a str>>) {
    parts.into_iter().for_each(|text| part(mac, text));
}

/// Feeds `<length>:<bytes>`, or `-` if absent.
fn part(mac: &mut impl Mac, text: Option<&str>) {
    match text {
        Some(text) => {
            mac.update(format!("{}:", text.len()).as_bytes());
            mac.update(text.as_bytes());
        }
        None => mac.update(b"-"),
    }
}
