//! What a signature covers, byte for byte.
//!
//! Each part bears its length in front, so that no two requests make the same bytes.

use std::collections::BTreeMap;

use hmac::Mac;

/// What a request's signature covers. Never the attempt: a request that is run again stays the
/// same; nor what says only how it is dealt with.
#[derive(Debug, Clone, Copy)]
pub struct Claims<'a> {
    /// The request's id.
    pub id: &'a str,
    /// The job's name.
    pub name: &'a str,
    /// The queue's name.
    pub queue: &'a str,
    /// What the handler gets: the JSON as it stands in the envelope.
    pub data: &'a str,
    /// Where answers go.
    pub response_key: Option<&'a str>,
    /// Channel on which they are announced.
    pub notify: Option<&'a str>,
    /// The same key of the same name and queue is the same call.
    pub idempotency_key: Option<&'a str>,
    /// Passed to the handler.
    pub headers: &'a BTreeMap<String, String>,
    /// How long the caller cares, ms.
    pub budget_ms: Option<u64>,
    /// Until when the signature holds, Redis time in ms.
    pub expires_at: u64,
}

/// First part of the message of a request: a signature of something else is none.
const REQUEST: &str = "redcall request 1";

/// Hands the message to `mac`, without a copy of the data.
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

/// Hands the parts of a frame's message to `mac`.
pub(super) fn feed_all<'a>(mac: &mut impl Mac, parts: impl IntoIterator<Item = Option<&'a str>>) {
    parts.into_iter().for_each(|text| part(mac, text));
}

/// `<length>:<bytes>`, or `-` for what is absent.
fn part(mac: &mut impl Mac, text: Option<&str>) {
    match text {
        Some(text) => {
            mac.update(format!("{}:", text.len()).as_bytes());
            mac.update(text.as_bytes());
        }
        None => mac.update(b"-"),
    }
}
