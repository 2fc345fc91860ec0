//! The envelope that a caller enqueues: written by our client, read by a worker.
//!
//! Reading is strict, because any program may push elements: [`decode`](crate::decode::decode).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::rules::digest;
use crate::rules::limits::TTL_RANGE_MS;
use crate::wire::auth::{Claims, Signer, Token};
use crate::wire::frame_head::FrameHead;

/// The wire version of this crate.
pub const WIRE_VERSION: u64 = 1;

/// The envelope's fields are declared once: in the order in which they are written, with their type
/// as our client writes them, their type as the fast reader reads them, and what a retry of a dead
/// letter does with them.
macro_rules! envelope {
    ($($(#[$doc:meta])+ $name:ident: $(#[$write:meta])* $written:ty =>
        $(#[$read:meta])* $as_read:ty, $on_retry:ident;)+) => {
        /// A request as our client writes it. `id` comes first, so that scripts find it without
        /// parsing.
        #[derive(Debug, Serialize)]
        #[non_exhaustive]
        pub struct Envelope<'a> {
            $($(#[$doc])+ $(#[$write])* pub $name: $written,)+
        }

        /// The known fields, and no other; strings without escapes.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct KnownFields<'a> {
            $($(#[$read])* pub(crate) $name: $as_read,)+
            /// The wire version. Our client omits it.
            pub(crate) v: Option<u64>,
        }

        /// The fields in the order in which they are written.
        pub const FIELDS: &[(&str, OnRetry)] =
            &[$((stringify!($name), OnRetry::$on_retry)),+];
    };
}

/// The treatment of a field when its request, a dead letter, is queued again. Unknown fields are
/// kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRetry {
    /// It keeps its bytes, or is replaced by a field of the same name.
    Keep,
    /// It is dropped: it binds the request to its original caller, which no longer waits.
    Drop,
}

envelope! {
    /// Unique among the queue's live requests; see [`crate::name::is_id`].
    id: &'a str => &'a str, Keep;
    /// The job's name.
    name: &'a str => &'a str, Keep;
    /// The handler's data, as JSON.
    data: &'a RawValue => #[serde(borrow)] &'a RawValue, Keep;
    /// The response key; absent for fire and forget.
    response_key: #[serde(skip_serializing_if = "Option::is_none")] Option<&'a str> =>
        Option<&'a str>, Drop;
    /// Redis time, ms since the epoch.
    enqueued_at: u64 => Option<u64>, Keep;
    /// The caller's timeout, ms; absent for no deadline.
    budget_ms: #[serde(skip_serializing_if = "Option::is_none")] Option<u64> => Option<u64>, Keep;
    /// How long after `enqueued_at` a run may start, ms; absent for as long as the budget.
    start_ms: #[serde(skip_serializing_if = "Option::is_none")] Option<u64> => Option<u64>, Drop;
    /// How long the answer is kept, ms.
    response_ttl_ms: #[serde(skip_serializing_if = "Option::is_none")] Option<u64> =>
        Option<u64>, Drop;
    /// How long its status is kept, ms; absent if it is not tracked.
    status_ttl_ms: #[serde(skip_serializing_if = "Option::is_none")] Option<u64> =>
        Option<u64>, Keep;
    /// The maximum number of failed runs before the job is abandoned; it can only lower the
    /// mapping's.
    max_attempts: #[serde(skip_serializing_if = "Option::is_none")] Option<u64> =>
        Option<u64>, Keep;
    /// The channel for notifications of frames.
    notify: #[serde(skip_serializing_if = "Option::is_none")] Option<&'a str> =>
        Option<&'a str>, Drop;
    /// Requests with the same key, name and queue are the same call.
    idempotency_key: #[serde(skip_serializing_if = "Option::is_none")] Option<&'a str> =>
        Option<&'a str>, Drop;
    /// Passed to the handler unchanged.
    headers: #[serde(skip_serializing_if = "BTreeMap::is_empty")] &'a BTreeMap<String, String> =>
        Option<BTreeMap<String, String>>, Keep;
    /// Its signature over the other fields: [`Envelope::claims`].
    auth: #[serde(skip_serializing_if = "Option::is_none")] Option<&'a Token> =>
        #[serde(borrow)] Option<&'a RawValue>, Keep;
}

/// The headers of a request without any.
static NO_HEADERS: BTreeMap<String, String> = BTreeMap::new();

impl<'a> Envelope<'a> {
    /// Creates a fire-and-forget request without a deadline, enqueued at this Redis time (ms). All
    /// other fields are absent; set those that the request needs.
    #[inline]
    #[must_use]
    pub fn new(id: &'a str, name: &'a str, data: &'a RawValue, enqueued_at: u64) -> Self {
        Self {
            id,
            name,
            data,
            response_key: None,
            enqueued_at,
            budget_ms: None,
            start_ms: None,
            response_ttl_ms: None,
            status_ttl_ms: None,
            max_attempts: None,
            notify: None,
            idempotency_key: None,
            headers: &NO_HEADERS,
            auth: None,
        }
    }

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

/// Writes the elements of requests that differ only in id and data.
#[derive(Debug)]
pub struct EnvelopeTemplate {
    /// Between the id and the data.
    middle: String,
    /// After the data.
    end: String,
}

/// The text in front of the id.
const BEFORE_ID: &str = r#"{"id":""#;

impl EnvelopeTemplate {
    /// Appends the element with this id and this data. It is what [`Envelope::encode`] returns.
    #[inline]
    pub fn write(&self, id: &str, data: &RawValue, out: &mut String) {
        out.reserve(BEFORE_ID.len() + id.len() + self.middle.len() + self.end.len());
        out.push_str(BEFORE_ID);
        out.push_str(id);
        out.push_str(&self.middle);
        out.push_str(data.get());
        out.push_str(&self.end);
    }
}

impl Envelope<'_> {
    /// Returns the writer of elements with the same other fields as this one. It must not be
    /// signed: a signature covers id and data.
    #[must_use]
    pub fn template(&self) -> EnvelopeTemplate {
        const DATA: &str = r#""data":"#;
        let text = Envelope { id: "", data: RawValue::NULL, auth: None, ..*self }.encode();
        // A name cannot hold this text: a quote in it is escaped.
        let data = text.find(DATA).map_or(text.len(), |at| at + DATA.len());
        let middle = text.get(BEFORE_ID.len()..data).unwrap_or_default().to_owned();
        let end = text.get(data + RawValue::NULL.get().len()..).unwrap_or_default().to_owned();
        EnvelopeTemplate { middle, end }
    }

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
    /// How long after `enqueued_at` a run may start, ms; `None` leaves it to the budget.
    pub start_ms: Option<u64>,
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

    /// Returns the request as our client writes it. For `dev/fuzz/`, which reads it again.
    #[doc(hidden)]
    #[must_use]
    pub fn envelope(&self) -> Envelope<'_> {
        let reply = self.reply.as_ref();
        let signed = self.auth.as_deref();
        let notify = match reply {
            Some(reply) => reply.notify.as_deref(),
            None => signed.and_then(|signed| signed.notify.as_deref()),
        };
        Envelope {
            id: &self.id,
            name: &self.name,
            data: &self.data,
            response_key: reply.map(|reply| &*reply.response_key),
            enqueued_at: self.enqueued_at.unwrap_or_default(),
            budget_ms: self.budget_ms,
            start_ms: self.start_ms,
            response_ttl_ms: reply.map(|reply| reply.ttl_ms),
            status_ttl_ms: self.status_ttl_ms,
            max_attempts: self.max_attempts,
            notify,
            idempotency_key: self.idempotency_key.as_deref(),
            headers: &self.headers,
            auth: signed.map(|signed| &signed.token),
        }
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
        let mut envelope = Envelope::new("x1", "add", &data, 1_763_683_200_000);
        envelope.response_key = Some("redcall:{q}:response:x1");
        envelope.budget_ms = Some(30_000);
        envelope.notify = Some("redcall:{q}:notify:c");
        let wire = [
            r#"{"id":"x1","name":"add","data":{"a":1,"b":1},"#,
            r#""response_key":"redcall:{q}:response:x1","enqueued_at":1763683200000,"#,
            r#""budget_ms":30000,"notify":"redcall:{q}:notify:c"}"#,
        ];
        assert_eq!(envelope.encode(), wire.concat());
    }

    #[test]
    fn template_writes_what_an_envelope_encodes() {
        let data = RawValue::from_string(r#"{"data":null,"id":""}"#.into()).unwrap();
        let headers = [("data".to_owned(), r#""data":null"#.to_owned())].into();
        for name in ["add", r#"","data":null,"#, "größe.\\"] {
            let mut plain = Envelope::new("x1", name, &data, 7);
            assert_eq!(written(&plain), plain.encode());
            (plain.budget_ms, plain.max_attempts, plain.headers) = (Some(1), Some(2), &headers);
            assert_eq!(written(&plain), plain.encode());
        }
    }

    fn written(envelope: &Envelope<'_>) -> String {
        let mut out = String::new();
        envelope.template().write(envelope.id, envelope.data, &mut out);
        out
    }
}
