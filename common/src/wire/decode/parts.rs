//! Parts of an element that both ways of reading share.

use serde_json::value::RawValue;

use crate::rules::limits::TTL_RANGE_MS;
use crate::wire::auth::Token;
use crate::wire::request::{Signed, default_response_ttl_ms};

/// Returns how long an answer is kept, ms.
pub(super) fn kept_for(ttl_ms: Option<u64>, budget_ms: Option<u64>) -> u64 {
    let ttl_ms = ttl_ms.unwrap_or_else(|| default_response_ttl_ms(budget_ms));
    in_range(ttl_ms)
}

/// Clamps `ttl_ms` to the allowed range of an answer's or status's TTL.
pub(super) fn in_range(ttl_ms: u64) -> u64 {
    ttl_ms.clamp(*TTL_RANGE_MS.start(), *TTL_RANGE_MS.end())
}

/// Reads the signature in `auth`. One that cannot be read belongs to no key: workers that require
/// signatures refuse it like any other wrong one, and other workers ignore it.
pub(super) fn signed(auth: Option<&RawValue>, notify: Option<String>) -> Option<Box<Signed>> {
    let auth = auth.filter(|auth| auth.get() != "null")?;
    let token = serde_json::from_str(auth.get()).unwrap_or_else(|_| Token::unreadable());
    Some(Box::new(Signed { token, notify, signer: None }))
}
