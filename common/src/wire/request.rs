//! The envelope that a caller enqueues: written by our client, read by a worker.
//!
//! Reading is strict, because any program may push elements: [`decode`](crate::decode::decode).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::rules::digest;
use crate::rules::limits::TTL_RANGE_MS;
use crate::wire::auth::{Claims, Signer, Token};
use crate::wire::frame_head::FrameHead;

/// The wire version of this crate.
pub const WIRE_VERSION: u64 = 1;

/// A request as our client writes it. `id` comes first, so that scripts find it without parsing.
#[derive(Debug, Serialize)]
pub struct Envelope<'a> {
    /// Unique among the queue's live requests; see [`crate::name::is_id`].
    pub id: &'a str,
    /// The job's name.
    pub name: &'a str,
    /// The handler's data, as JSON.
    pub data: &'a RawValue,
    /// The response key; absent for fire and forget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_key: Option<&'a str>,
    /// Redis time, ms since the epoch.
    pub enqueued_at: u64,
    /// The caller's timeout, ms; absent for no deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_ms: Option<u64>,
    /// How long the answer is kept, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_ttl_ms: Option<u64>,
    /// How long its status is kept, ms; absent if it is not tracked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_ttl_ms: Option<u64>,
    /// The maximum number of failed runs before the job is abandoned; it can only lower the
    /// mapping's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u64>,
    /// The channel for notifications of frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<&'a str>,
    /// Requests with the same key, name and queue are the same call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<&'a str>,
    /// Passed to the handler unchanged.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: &'a BTreeMap<String, String>,
    /// Its signature over the other fields: [`Envelope::claims`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<&'a Token>,
}

impl<'a> Envelope<'a> {
    /// Returns the signed content of a signature that expires at `expires_at` (Redis ms), on the
    /// queue of this name.
    #[must_use]
    pub fn claims(&self, queue: &'a str, expires_at: u64) -> Claims<'a> {
        Claims {
            id: self.id,
            name: self.name,
            queue,
            data: self.data.get(),
            response_key: self.response_key,
            notify: self.notify,
            idempotency_key: self.idempotency_key,
            headers: self.headers,
            budget_ms: self.budget_ms,
            expires_at,
        }
    }
}

impl Envelope<'_> {
    /// Encodes the element to push to the queue.
    #[must_use]
    pub fn encode(&self) -> String {
        // Strings, numbers and JSON text always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A request as a worker has read it. Its keys match its queue and id.
#[derive(Debug)]
pub struct DecodedRequest {
    /// The request's id.
    pub id: String,
    /// The job's name.
    pub name: String,
    /// The handler's data, as JSON.
    pub data: Box<RawValue>,
    /// Where answers go; `None` for fire and forget.
    pub reply: Option<ReplyTo>,
    /// Redis time of the enqueue, ms; `None` if the caller set none, and for a retried dead letter:
    /// its budget starts at the lease.
    pub enqueued_at: Option<u64>,
    /// The caller's timeout, ms; `None` for no deadline.
    pub budget_ms: Option<u64>,
    /// How long its status is kept, ms; `None` leaves it to the mapping.
    pub status_ttl_ms: Option<u64>,
    /// The maximum number of failed runs; `None` leaves it to the mapping.
    pub max_attempts: Option<u64>,
    /// Requests with the same key, name and queue are the same call.
    pub idempotency_key: Option<String>,
    /// Passed to the handler unchanged.
    pub headers: BTreeMap<String, String>,
    /// Its signature, with the other fields needed to verify it; `None` if it is not signed.
    pub auth: Option<Box<Signed>>,
}

/// The signature of a request as a worker has read it.
#[derive(Debug)]
pub struct Signed {
    /// The field `auth`.
    pub token: Token,
    /// The field `notify`, which is signed even if there is no answer.
    pub notify: Option<String>,
    /// Signs its frames. Set after the signature was verified.
    pub signer: Option<Signer>,
}

impl DecodedRequest {
    /// Returns the common fields of its frames at `response_key` in that run.
    #[must_use]
    pub fn head<'a>(&'a self, response_key: &'a str, attempt: u32) -> FrameHead<'a> {
        let signer = self.auth.as_ref().and_then(|signed| signed.signer.as_ref());
        FrameHead { id: &self.id, response_key, attempt, signer }
    }

    /// Returns its signature and the signer of its frames, if the signature was verified.
    #[must_use]
    pub fn signer(&self) -> Option<(&Signed, &Signer)> {
        let signed = self.auth.as_deref()?;
        Some((signed, signed.signer.as_ref()?))
    }

    /// Returns the digest of its call, if it has an idempotency key.
    #[must_use]
    pub fn call(&self) -> Option<String> {
        let key = self.auth.as_ref().and_then(|signed| signed.token.name());
        let of = |idempotency_key: &String| digest::of_call(&self.name, idempotency_key, key);
        self.idempotency_key.as_ref().map(of)
    }

    /// Returns the signed content, on the queue of this name.
    #[must_use]
    pub fn claims<'a>(&'a self, queue: &'a str, signed: &'a Signed) -> Claims<'a> {
        Claims {
            id: &self.id,
            name: &self.name,
            queue,
            data: self.data.get(),
            response_key: self.reply.as_ref().map(|reply| &*reply.response_key),
            notify: signed.notify.as_deref(),
            idempotency_key: self.idempotency_key.as_deref(),
            headers: &self.headers,
            budget_ms: self.budget_ms,
            expires_at: signed.token.expires_at,
        }
    }
}

/// The destination of a request's frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    /// The response key.
    pub response_key: String,
    /// How long frames are kept, ms.
    pub ttl_ms: u64,
    /// The channel for notifications of frames.
    pub notify: Option<String>,
}

/// Returns the TTL of an answer if the request sets none, ms.
#[must_use]
pub fn default_response_ttl_ms(budget_ms: Option<u64>) -> u64 {
    let ttl = budget_ms.map_or(600_000, |budget| budget.saturating_add(30_000));
    ttl.clamp(*TTL_RANGE_MS.start(), *TTL_RANGE_MS.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_bytes_of_a_request_are_fixed() {
        let data = RawValue::from_string(r#"{"a":1,"b":1}"#.into()).unwrap();
        let envelope = Envelope {
            id: "x1",
            name: "add",
            data: &data,
            response_key: Some("redcall:{q}:response:x1"),
            enqueued_at: 1_763_683_200_000,
            budget_ms: Some(30_000),
            response_ttl_ms: None,
            status_ttl_ms: None,
            max_attempts: None,
            notify: Some("redcall:{q}:notify:c"),
            idempotency_key: None,
            headers: &BTreeMap::new(),
            auth: None,
        };
        let wire = [
            r#"{"id":"x1","name":"add","data":{"a":1,"b":1},"#,
            r#""response_key":"redcall:{q}:response:x1","enqueued_at":1763683200000,"#,
            r#""budget_ms":30000,"notify":"redcall:{q}:notify:c"}"#,
        ];
        assert_eq!(envelope.encode(), wire.concat());
    }
}
