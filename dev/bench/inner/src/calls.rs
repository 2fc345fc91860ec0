//! Requests: written by a client, pushed, read by a worker.

use std::collections::BTreeMap;

use redcall_common::decode::decode;
use redcall_common::keys::QueueKeys;
use redcall_common::limits::Limits;
use redcall_common::request::{DecodedRequest, Envelope};
use redcall_store::{Item, benching};
use serde_json::value::RawValue;

use crate::{DATA, ids, queue};

/// The delivery of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// Nothing: fire and forget.
    Nothing,
    /// An answer, announced. So do all that follow, each with one thing more.
    Answer,
    /// An idempotency key.
    Idempotency,
    /// The largest number of attempts.
    Attempts,
    /// A header with the trace that it belongs to.
    Trace,
}

impl With {
    /// All of them, by name.
    pub const ALL: [(&str, Self); 5] = [
        ("forget", Self::Nothing),
        ("waited", Self::Answer),
        ("idempotent", Self::Idempotency),
        ("attempts", Self::Attempts),
        ("traced", Self::Trace),
    ];
}

/// Calls that have not been written yet.
pub struct Calls {
    ids: Vec<String>,
    response_keys: Vec<String>,
    notify: String,
    data: Box<RawValue>,
    headers: BTreeMap<String, String>,
    with: With,
}

impl Calls {
    /// Calls with this delivery.
    #[must_use]
    pub fn new(with: With) -> Self {
        let (ids, queue) = (ids(), queue());
        let mut headers = BTreeMap::new();
        if with == With::Trace {
            let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            headers.insert("traceparent".to_owned(), trace.to_owned());
        }
        Self {
            response_keys: ids.iter().map(|id| queue.response(id)).collect(),
            ids,
            notify: queue.notify("0199a2b47c1e70008000000000000000"),
            data: RawValue::from_string(DATA.to_owned()).unwrap(),
            headers,
            with,
        }
    }

    /// Measured: writes the envelopes.
    #[must_use]
    pub fn encode(&self) -> Vec<String> {
        let is_waited = self.with != With::Nothing;
        let calls = self.ids.iter().zip(&self.response_keys);
        let envelopes = calls.map(|(id, response_key)| {
            let mut envelope = Envelope::new(id, "add", &self.data, 1_763_683_200_000);
            envelope.response_key = is_waited.then_some(response_key);
            envelope.budget_ms = is_waited.then_some(30_000);
            envelope.max_attempts = (self.with == With::Attempts).then_some(3);
            envelope.notify = is_waited.then_some(&self.notify);
            envelope.idempotency_key =
                (self.with == With::Idempotency).then_some("order-1763683200");
            envelope.headers = &self.headers;
            envelope.encode()
        });
        envelopes.collect()
    }
}

/// Elements of a queue, as a worker has leased them.
pub struct Elements {
    ids: Vec<String>,
    raw: Vec<String>,
    keys: QueueKeys,
    limits: Limits,
}

impl Elements {
    /// Calls with this delivery.
    #[must_use]
    pub fn new(with: With) -> Self {
        let raw = Calls::new(with).encode();
        Self { ids: ids(), raw, keys: queue(), limits: Limits::default() }
    }

    /// Measured: reads them.
    #[must_use]
    pub fn decode(&self) -> Vec<DecodedRequest> {
        let elements = self.ids.iter().zip(&self.raw);
        let read = elements.map(|(id, raw)| decode(raw.as_bytes(), id, &self.keys, &self.limits));
        read.collect::<Result<_, _>>().unwrap()
    }
}

/// Requests in flight to a queue.
pub struct Batch {
    keys: QueueKeys,
    items: Vec<Item>,
}

impl Batch {
    /// Waited calls.
    #[must_use]
    pub fn new() -> Self {
        let envelopes = Calls::new(With::Answer).encode().into_iter();
        let items = envelopes.map(|envelope| Item { waited: true, envelope }).collect();
        Self { keys: queue(), items }
    }

    /// Measured: the one command that pushes them, as bytes.
    #[must_use]
    pub fn command(&self) -> Vec<u8> {
        benching::enqueue_command(&self.keys, 1_000_000, &self.items)
    }
}
