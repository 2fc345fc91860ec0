//! Elements of a queue, as a worker reads them.
//!
//!
//! - A refused element is either answered at its own response key or dead-lettered: none vanishes.
//! - An accepted element has the id under which it was leased, and names no key but its own.
//! - The id that scripts find without parsing is the id that is read.
//! - An accepted request that our client writes again reads the same.
//! - The fast reader and the reader that checks rule by rule accept the same elements.

use redcall_common::decode::{Rejected, by_rules, call_of, decode};
use redcall_common::keys::{Keys, QueueKeys};
use redcall_common::limits::Limits;
use redcall_common::limits::TTL_RANGE_MS;
use redcall_common::name::{is_id, is_idempotency_key, is_job_name};
use redcall_common::request::{DecodedRequest, Envelope, ReplyTo};

/// Smaller than in earnest, so that inputs of a few hundred bytes meet them.
const LIMITS: Limits = Limits {
    request: 1500,
    answer: 1500,
    frame: 1500,
    depth: 6,
    max_length: 100,
    answers_max_bytes: 0,
};

/// The queue.
fn keys() -> QueueKeys {
    Keys::new("redcall").of("q")
}

/// Reads an element, leased under every id that any reader could find in it.
///
/// # Panics
///
/// If one of the module's assertions fails.
pub fn check(raw: &[u8]) {
    let found = as_scripts_find(raw);
    let parsed = serde_json::from_slice::<serde_json::Value>(raw).ok();
    let parsed = parsed.as_ref().and_then(|json| json["id"].as_str()).filter(|id| is_id(id));
    for id in [found, parsed, Some("x1")].into_iter().flatten() {
        let by_rules = by_rules(raw, id, &keys(), &LIMITS).ok();
        let by_rules = by_rules.map(|request| shown(&request, request.enqueued_at));
        match decode(raw, id, &keys(), &LIMITS) {
            Ok(request) => {
                assert_eq!(by_rules, Some(shown(&request, request.enqueued_at)));
                assert!(found.is_none_or(|found| found == request.id), "scripts find {found:?}");
                accepted(&request, id, raw);
            }
            Err(rejected) => {
                assert_eq!(by_rules, None);
                refused(&rejected, id);
            }
        }
    }
}

/// The id that `poll.lua` finds: `^%s*{%s*"id"%s*:%s*"([%w_-]+)"`.
fn as_scripts_find(raw: &[u8]) -> Option<&str> {
    let mut rest = raw;
    for token in [&b"{"[..], b"\"id\"", b":", b"\""] {
        let spaces = rest.iter().take_while(|byte| matches!(byte, 9..=13 | b' ')).count();
        // There is no space between the opening quote and the id, so the id is last.
        rest = rest[spaces..].strip_prefix(token)?;
    }
    let end = rest.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&rest[..end]).ok().filter(|id| is_id(id))
}

fn refused(rejected: &Rejected, id: &str) {
    assert!(rejected.dead_letter || rejected.reply.is_some(), "it vanishes: {rejected:?}");
    assert!(!rejected.error.message.is_empty());
    if let Some(reply) = &rejected.reply {
        own(reply, id);
    }
}

/// Asserts that the reply goes where answers to `id` may go.
fn own(reply: &ReplyTo, id: &str) {
    assert_eq!(reply.response_key, keys().response(id));
    assert!(reply.notify.as_deref().is_none_or(|channel| keys().is_notify(channel)));
    assert!(TTL_RANGE_MS.contains(&reply.ttl_ms));
}

fn accepted(request: &DecodedRequest, id: &str, raw: &[u8]) {
    assert!(raw.len() <= LIMITS.request);
    assert_eq!(request.id, id);
    assert!(is_job_name(&request.name));
    assert!(request.idempotency_key.as_deref().is_none_or(is_idempotency_key));
    if let Some(reply) = &request.reply {
        own(reply, id);
    }
    assert_eq!(call_of(raw), request.call());

    let reply = request.reply.as_ref();
    let written = Envelope {
        id: &request.id,
        name: &request.name,
        data: &request.data,
        response_key: reply.map(|reply| &*reply.response_key),
        enqueued_at: request.enqueued_at.unwrap_or(7),
        budget_ms: request.budget_ms,
        response_ttl_ms: reply.map(|reply| reply.ttl_ms),
        status_ttl_ms: request.status_ttl_ms,
        max_attempts: request.max_attempts,
        notify: reply.and_then(|reply| reply.notify.as_deref()),
        idempotency_key: request.idempotency_key.as_deref(),
        headers: &request.headers,
        auth: request.auth.as_ref().map(|signed| &signed.token),
    };
    let written = written.encode();
    assert_eq!(as_scripts_find(written.as_bytes()), Some(id));
    // Fields added to a request at the limit may exceed it; the caller has to check that.
    let limits = Limits { request: usize::MAX, ..LIMITS };
    let again = decode(written.as_bytes(), id, &keys(), &limits);
    let again = again.unwrap_or_else(|rejected| panic!("{written}: {rejected:?}"));
    let expected = shown(request, Some(request.enqueued_at.unwrap_or(7)));
    assert_eq!(shown(&again, again.enqueued_at), expected);
}

/// Every field; a new one has to be thought of here, too.
fn shown(request: &DecodedRequest, at: Option<u64>) -> String {
    let DecodedRequest {
        id,
        name,
        data,
        reply,
        enqueued_at: _,
        budget_ms,
        status_ttl_ms,
        max_attempts,
        idempotency_key,
        headers,
        auth,
    } = request;
    let data = data.get();
    format!("{id:?} {name:?} {data} {reply:?} {at:?} {budget_ms:?} {max_attempts:?} {headers:?}")
        + &format!("{status_ttl_ms:?} ")
        + &format!("{idempotency_key:?} {:?}", auth.as_ref().map(|signed| &signed.token))
        // Which Debug does not show.
        + auth.as_ref().map_or("", |signed| &signed.token.sig)
}
