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
use redcall_common::request::{DecodedRequest, ReplyTo};

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
        let by_rules = by_rules.map(|request| shown(&request));
        match decode(raw, id, &keys(), &LIMITS) {
            Ok(request) => {
                assert_eq!(by_rules, Some(shown(&request)));
                assert!(found.is_none_or(|found| found == request.id), "scripts find {found:?}");
                accepted(request, id, raw);
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

fn accepted(mut request: DecodedRequest, id: &str, raw: &[u8]) {
    assert!(raw.len() <= LIMITS.request);
    assert_eq!(request.id, id);
    assert!(is_job_name(&request.name));
    assert!(request.idempotency_key.as_deref().is_none_or(is_idempotency_key));
    if let Some(reply) = &request.reply {
        own(reply, id);
    }
    assert_eq!(call_of(raw), request.call());

    request.enqueued_at.get_or_insert(7);
    let written = request.envelope().encode();
    assert_eq!(as_scripts_find(written.as_bytes()), Some(id));
    // Fields added to a request at the limit may exceed it; the caller has to check that.
    let limits = Limits { request: usize::MAX, ..LIMITS };
    let again = decode(written.as_bytes(), id, &keys(), &limits);
    let again = again.unwrap_or_else(|rejected| panic!("{written}: {rejected:?}"));
    assert_eq!(shown(&again), shown(&request));
}

/// Returns every field as text.
fn shown(request: &DecodedRequest) -> String {
    // Debug does not show the signature.
    let signature = request.auth.as_ref().map_or("", |signed| &signed.token.sig);
    format!("{request:?} {signature}")
}
