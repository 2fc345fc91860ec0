//! The fast path of decoding: a valid envelope, in one pass and with few copies.
//!
//! All other elements are read again rule by rule, which produces the error. `dev/fuzz/` compares
//! the two: they accept the same elements.

use super::parts::{in_range, kept_for, signed};
use crate::rules::depth::deeper_than;
use crate::rules::keys::QueueKeys;
use crate::rules::limits::Limits;
use crate::rules::name::{is_id, is_idempotency_key, is_job_name};
use crate::wire::request::{DecodedRequest, KnownFields, ReplyTo, WIRE_VERSION};

/// Returns the request, if it breaks no rule. `raw` is within its size limit. `leased_id`: the id
/// under which it was leased, if it was.
pub(super) fn read(
    raw: &[u8],
    leased_id: Option<&str>,
    keys: &QueueKeys,
    limits: &Limits,
) -> Option<DecodedRequest> {
    // UTF-8 is checked at once: a parser's check field by field takes longer.
    let known: KnownFields<'_> = serde_json::from_str(std::str::from_utf8(raw).ok()?).ok()?;
    let good = known.v.is_none_or(|version| version == WIRE_VERSION)
        && leased_id.is_none_or(|id| known.id == id)
        && is_id(known.id)
        && known.notify.is_none_or(|channel| keys.is_notify(channel))
        && known.response_key.is_none_or(|key| keys.is_response(key, known.id))
        && is_job_name(known.name)
        && known.idempotency_key.is_none_or(is_idempotency_key)
        && !deeper_than(raw, limits.depth);
    good.then(|| DecodedRequest {
        id: known.id.to_owned(),
        name: known.name.to_owned(),
        data: known.data.to_owned(),
        reply: known.response_key.map(|key| ReplyTo {
            response_key: key.to_owned(),
            ttl_ms: kept_for(known.response_ttl_ms, known.budget_ms),
            notify: known.notify.map(str::to_owned),
        }),
        enqueued_at: known.enqueued_at,
        budget_ms: known.budget_ms,
        start_ms: known.start_ms,
        status_ttl_ms: known.status_ttl_ms.map(in_range),
        max_attempts: known.max_attempts,
        idempotency_key: known.idempotency_key.map(str::to_owned),
        headers: known.headers.unwrap_or_default(),
        auth: known.auth.and_then(|auth| signed(Some(auth), known.notify.map(str::to_owned))),
    })
}
