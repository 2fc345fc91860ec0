//! Deferred requests: the record that a worker leaves, and the requests that ended unsettled.

use crate::error::StoreError;
use redcall_common::keys::QueueKeys;
use redcall_common::request::ReplyTo;

/// The record of a deferred request.
#[derive(Debug, Clone)]
pub struct DeferredRecord {
    /// SHA-256 of its completion token: Redis never stores the token itself.
    pub digest: String,
    /// Its run, and the position of its final frame.
    pub run: DeferredRun,
    /// Where its frames go; `None` if no caller waits.
    pub reply: Option<ReplyTo>,
    /// The final frame for a timeout, without its first two fields.
    pub late: String,
    /// The final frame for a cancellation, without its first two fields.
    pub gone: String,
    /// `true` if it becomes a dead letter when it ends with an error.
    pub dead_letter: bool,
    /// How long its states are kept, if at all.
    pub status_ttl_ms: Option<u64>,
    /// The signature of its record if the request is signed, see [`Covered`].
    pub seal: Option<String>,
}

/// The signed part of a deferred request's record, with its signature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Covered {
    /// The parts, in the order of docs/reference/protocol.md.
    pub(crate) parts: Vec<Option<String>>,
    /// The seal; `None` if the record has none.
    pub seal: Option<String>,
}

impl Covered {
    /// Returns the parts, for [`redcall_common::auth::Signer::seal_deferred`] and its verification.
    #[must_use]
    pub fn parts(&self) -> Vec<Option<&str>> {
        self.parts.iter().map(Option::as_deref).collect()
    }
}

/// The signed fields of a record, in this order, after queue and id.
pub(crate) const COVERED: [&str; 12] = [
    "token",
    "name",
    "attempt",
    "seq",
    "key",
    "call",
    "nonce",
    "event",
    "dead_letter",
    "ttl",
    "channel",
    "status",
];

/// A deferred request, with the parts that its settlement needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeferredRun {
    /// The job's name.
    pub name: String,
    /// The run that deferred it.
    pub attempt: u32,
    /// `seq` of its final frame.
    pub seq: u64,
    /// Name of the key under which its frames are signed.
    pub key: Option<String>,
    /// The digest of its call, if it has an idempotency key and its frames are signed.
    pub call: Option<String>,
    /// The caller's own id of the request, from its headers.
    pub nonce: Option<String>,
    /// `true` if its end has to be published.
    pub notify: bool,
}

/// A deferred request that ended unsettled, and whose end has to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedDeferred {
    /// Its id.
    pub id: String,
    /// The job's name.
    pub name: String,
    /// The caller's own id of the request.
    pub nonce: Option<String>,
}

impl DeferredRecord {
    /// Returns its approximate size as a command, bytes.
    pub(crate) fn size(&self) -> usize {
        500 + self.late.len() + self.gone.len()
    }

    /// Returns the signed part of its record, for request `id` of the queue of `keys`.
    #[must_use]
    pub fn covered(&self, keys: &QueueKeys, id: &str) -> Covered {
        let DeferredRun { name, attempt, seq, key, call, nonce, notify } = &self.run;
        let flag = |set: bool| Some(if set { "1" } else { "0" }.to_owned());
        let of = |text: &str| Some(text.to_owned());
        let parts = vec![
            of(keys.name()),
            of(id),
            of(&self.digest),
            of(name),
            Some(attempt.to_string()),
            Some(seq.to_string()),
            key.clone(),
            call.clone(),
            nonce.clone(),
            flag(*notify),
            flag(self.dead_letter),
            self.reply.as_ref().map(|reply| reply.ttl_ms.to_string()),
            self.reply.as_ref().and_then(|reply| reply.notify.clone()),
            self.status_ttl_ms.map(|ttl| ttl.to_string()),
        ];
        Covered { parts, seal: self.seal.clone() }
    }

    /// Returns alternating fields and values of request `id`, as a JSON array.
    pub(crate) fn fields(&self, keys: &QueueKeys, id: &str) -> String {
        let covered = self.covered(keys, id);
        let mut fields = vec!["late", &self.late, "gone", &self.gone];
        let named = COVERED.iter().zip(covered.parts.iter().skip(2));
        fields.extend(named.filter_map(|(name, value)| Some([*name, value.as_deref()?])).flatten());
        fields.extend(self.seal.as_deref().map(|seal| ["seal", seal]).into_iter().flatten());
        // Strings always serialise.
        serde_json::to_string(&fields).unwrap_or_default()
    }
}

/// Reads id, name and nonce of each request that `script` has ended.
pub(crate) fn ended_deferred(
    script: &'static str,
    to_publish: Vec<String>,
) -> Result<Vec<EndedDeferred>, StoreError> {
    if !to_publish.len().is_multiple_of(3) {
        return Err(StoreError::Unexpected(script));
    }
    let ended = to_publish.chunks_exact(3).map(|one| EndedDeferred {
        id: one[0].clone(),
        name: one[1].clone(),
        nonce: Some(one[2].clone()).filter(|nonce| !nonce.is_empty()),
    });
    Ok(ended.collect())
}
