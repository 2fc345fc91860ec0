//! Strict decoding of a queue's elements, from any writer.
//!
//! The rules of docs/reference/protocol.md in the order of their checks. An element that is not an
//! envelope, or names foreign keys, is refused without an answer; other faults are answered.

mod direct;
mod parts;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::num::NonZero;

use serde::Deserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::rules::depth::deeper_than;
use crate::rules::digest;
use crate::rules::error::{Code, WireError};
use crate::rules::keys::QueueKeys;
use crate::rules::limits::Limits;
use crate::rules::name::{is_id, is_idempotency_key, is_job_name};
use crate::wire::auth::Token;
use crate::wire::request::{DecodedRequest, ReplyTo, WIRE_VERSION, default_response_ttl_ms};
use parts::{in_range, kept_for, signed};

/// The reason why an element cannot be run.
#[derive(Debug)]
pub struct Rejected {
    /// The error for the caller.
    pub error: WireError,
    /// Where to send it. `None`: nowhere, the element becomes a dead letter.
    pub reply: Option<ReplyTo>,
    /// `true` if it becomes a dead letter although the caller gets the error.
    pub dead_letter: bool,
    /// How long its status is kept, if at all, ms: a week has fewer than 2^32.
    pub status_ttl_ms: Option<NonZero<u32>>,
}

impl Rejected {
    fn silent(message: impl Into<String>) -> Self {
        let error = WireError::new(Code::InvalidRequest, message);
        Self { error, reply: None, dead_letter: true, status_ttl_ms: None }
    }
}

/// The scripts search for the id of an element in its first bytes.
const ID_WITHIN: usize = 4096;

/// The top-level fields of an object with their values as JSON text, in order.
pub type Fields<'a> = Vec<(String, &'a RawValue)>;

/// Reads `raw`, an element of the queue of `keys`, leased under `leased_id`.
///
/// # Errors
///
/// [`Rejected`] has the error and where to send it.
pub fn decode(
    raw: &[u8],
    leased_id: &str,
    keys: &QueueKeys,
    limits: &Limits,
) -> Result<DecodedRequest, Rejected> {
    if raw.len() <= limits.request
        && let Some(request) = direct::read(raw, Some(leased_id), keys, limits)
    {
        return Ok(request);
    }
    by_rules(raw, leased_id, keys, limits)
}

/// Reads `raw`, an element of the queue of `keys` that has no lease yet. `None`: it breaks a rule,
/// or its id is not where the scripts search for it.
#[must_use]
pub fn decode_unleased(raw: &[u8], keys: &QueueKeys, limits: &Limits) -> Option<DecodedRequest> {
    let request = direct::read(raw, None, keys, limits).filter(|_| raw.len() <= limits.request)?;
    let id = format!("\"{}\"", request.id);
    let head = &raw[..raw.len().min(ID_WITHIN)];
    let is_found = head.windows(id.len()).any(|window| window == id.as_bytes());
    is_found.then_some(request)
}

/// As [`decode`], rule by rule. Public for the fuzz targets, which compare the two.
///
/// # Errors
///
/// As [`decode`].
#[doc(hidden)]
pub fn by_rules(
    raw: &[u8],
    leased_id: &str,
    keys: &QueueKeys,
    limits: &Limits,
) -> Result<DecodedRequest, Rejected> {
    if raw.len() > limits.request {
        return Err(oversize(raw, leased_id, keys, limits));
    }
    let fields = fields(raw)?;
    let status_ttl_ms = optional::<u64>(&fields, "status_ttl_ms").ok().flatten();
    let status_ttl_ms =
        status_ttl_ms.and_then(|ttl| u32::try_from(in_range(ttl)).ok()?.try_into().ok());
    let reply = reply_to(&fields, leased_id, keys)
        .map_err(|rejected| Rejected { status_ttl_ms, ..rejected })?;
    read(&fields, raw, reply.clone(), limits).map_err(|(error, dead_letter)| Rejected {
        error,
        dead_letter: dead_letter || reply.is_none(),
        reply,
        status_ttl_ms,
    })
}

/// Refuses an oversized element without parsing it: its sender chose its size, and must not cost us
/// time. Its own response key is known from its id, and searched for at both ends.
fn oversize(raw: &[u8], id: &str, keys: &QueueKeys, limits: &Limits) -> Rejected {
    const ENDS: usize = 4096;
    let (size, limit) = (raw.len(), limits.request);
    let error = WireError::new(
        Code::TooLarge,
        format!("the request has {size} bytes, the limit is {limit} (limits.request)"),
    );
    let response_key = keys.response(id);
    let quoted = format!("\"{response_key}\"");
    let head = &raw[..ENDS.min(size)];
    let tail = &raw[size - ENDS.min(size)..];
    let named = [head, tail]
        .iter()
        .any(|part| part.windows(quoted.len()).any(|window| window == quoted.as_bytes()));
    let ttl_ms = default_response_ttl_ms(None);
    let reply = named.then_some(ReplyTo { response_key, ttl_ms, notify: None });
    Rejected { error, dead_letter: reply.is_none(), reply, status_ttl_ms: None }
}

/// Returns the top-level fields of an element, in order.
///
/// # Errors
///
/// If the element is not a JSON object, or repeats a field.
pub fn fields(raw: &[u8]) -> Result<Fields<'_>, Rejected> {
    let fields =
        members(raw).map_err(|error| Rejected::silent(format!("not a JSON object: {error}")))?;
    // A set, not a search: the sender chooses the number of fields.
    let mut seen = HashSet::with_capacity(fields.len());
    if let Some((name, _)) = fields.iter().find(|(name, _)| !seen.insert(name.as_str())) {
        return Err(Rejected::silent(format!("the field `{name}` occurs twice")));
    }
    Ok(fields)
}

/// Returns the fields of a JSON object, in order, including repeated ones.
pub(crate) fn members(raw: &[u8]) -> Result<Fields<'_>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(raw);
    let fields = (&mut reader).deserialize_map(TopLevel)?;
    reader.end().map(|()| fields)
}

/// Checks all fields that name a key, before anything is written to it.
fn reply_to(
    fields: &Fields<'_>,
    leased_id: &str,
    keys: &QueueKeys,
) -> Result<Option<ReplyTo>, Rejected> {
    let text = |name| match optional::<String>(fields, name) {
        Ok(text) => Ok(text),
        Err(error) => Err(Rejected::silent(error.message)),
    };
    let id = text("id")?.filter(|id| is_id(id));
    let id = id.ok_or_else(|| Rejected::silent("`id` is not 1 to 64 of [A-Za-z0-9_-]"))?;
    if id != leased_id {
        return Err(Rejected::silent(
            "scripts cannot read the id: write it unescaped, within the first 4 KiB",
        ));
    }
    let notify = text("notify")?;
    if notify.as_deref().is_some_and(|channel| !keys.is_notify(channel)) {
        return Err(Rejected::silent("`notify` is not a notify channel of this queue"));
    }
    let Some(response_key) = text("response_key")? else { return Ok(None) };
    if response_key != keys.response(&id) {
        return Err(Rejected::silent("`response_key` is not the response key of this id"));
    }
    // A wrong number here is reported later, to a key that is known to be valid by then.
    let budget_ms = optional::<u64>(fields, "budget_ms").ok().flatten();
    let ttl_ms = optional::<u64>(fields, "response_ttl_ms").ok().flatten();
    Ok(Some(ReplyTo { response_key, ttl_ms: kept_for(ttl_ms, budget_ms), notify }))
}

fn read(
    fields: &Fields<'_>,
    raw: &[u8],
    reply: Option<ReplyTo>,
    limits: &Limits,
) -> Result<DecodedRequest, (WireError, bool)> {
    let wrong = |message: String| (WireError::new(Code::InvalidRequest, message), false);
    let version = optional::<u64>(fields, "v").map_err(|error| (error, true))?;
    if let Some(other) = version.filter(|v| *v != WIRE_VERSION) {
        let message = format!("wire version {other}; this worker speaks {WIRE_VERSION}");
        return Err((WireError::new(Code::InvalidRequest, message), true));
    }
    if deeper_than(raw, limits.depth) {
        let limit = limits.depth;
        return Err(wrong(format!("nested deeper than {limit} levels (limits.depth)")));
    }
    let number = |name| optional::<u64>(fields, name).map_err(|error| (error, false));
    let name = optional::<String>(fields, "name").map_err(|error| (error, false))?;
    let name = name.ok_or_else(|| wrong("the field `name` is missing".into()))?;
    if !is_job_name(&name) {
        return Err(wrong("`name` is not 1 to 128 characters without spaces".into()));
    }
    let data = fields.iter().find(|(field, _)| field == "data");
    let (_, data) = data.ok_or_else(|| wrong("the field `data` is missing".into()))?;
    number("response_ttl_ms")?;
    let is_retried = number("retried_at")?.is_some();
    let status_ttl_ms = number("status_ttl_ms")?.map(in_range);
    let idempotency_key =
        optional::<String>(fields, "idempotency_key").map_err(|error| (error, false))?;
    if idempotency_key.as_deref().is_some_and(|key| !is_idempotency_key(key)) {
        return Err(wrong("`idempotency_key` is not 1 to 256 characters".into()));
    }
    Ok(DecodedRequest {
        id: optional(fields, "id").ok().flatten().unwrap_or_default(),
        name,
        data: (*data).to_owned(),
        reply,
        // For a retried dead letter it only states the age: the budget starts at this lease.
        enqueued_at: number("enqueued_at")?.filter(|_| !is_retried),
        budget_ms: number("budget_ms")?,
        start_ms: number("start_ms")?,
        status_ttl_ms,
        max_attempts: number("max_attempts")?,
        idempotency_key,
        headers: optional::<BTreeMap<String, String>>(fields, "headers")
            .map_err(|error| (error, false))?
            .unwrap_or_default(),
        auth: {
            let auth = fields.iter().find(|(field, _)| field == "auth");
            signed(auth.map(|(_, auth)| *auth), optional(fields, "notify").ok().flatten())
        },
    })
}

/// Returns the digest of the call of an element, if it has an idempotency key and is readable that
/// far.
#[must_use]
pub fn call_of(raw: &[u8]) -> Option<String> {
    let fields = fields(raw).ok()?;
    let text = |name| optional::<String>(&fields, name).ok()?;
    let token = fields.iter().find(|(field, _)| field == "auth");
    let token = token.and_then(|(_, auth)| serde_json::from_str::<Token>(auth.get()).ok());
    let key = token.as_ref().and_then(Token::name);
    Some(digest::of_call(&text("name")?, &text("idempotency_key")?, key))
}

fn optional<T: DeserializeOwned>(fields: &Fields<'_>, name: &str) -> Result<Option<T>, WireError> {
    let Some((_, value)) = fields.iter().find(|(field, _)| field == name) else { return Ok(None) };
    // `null` counts as absent: many libraries write it.
    serde_json::from_str::<Option<T>>(value.get())
        .map_err(|error| WireError::new(Code::InvalidRequest, format!("`{name}`: {error}")))
}

struct TopLevel;

impl<'de> Visitor<'de> for TopLevel {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request envelope")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(10);
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests;
