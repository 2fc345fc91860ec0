//! `settle.lua`: settle a deferred request; and the record that its worker leaves.

use std::time::Duration;

use redis::Value;

use super::reply::read;
use crate::error::StoreError;
use crate::link::Connection;
use crate::script::SETTLE;
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
    parts: Vec<Option<String>>,
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
const COVERED: [&str; 12] = [
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

/// The result of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeferredSettled {
    /// It took effect.
    Yes,
    /// The request was settled before.
    Before,
    /// The token is unknown or expired.
    Unknown,
    /// The settlement came too late: the request has just ended with a timeout.
    Late,
}

impl DeferredRecord {
    /// Returns its approximate size as a command, bytes.
    pub(super) fn size(&self) -> usize {
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
    pub(super) fn fields(&self, keys: &QueueKeys, id: &str) -> String {
        let covered = self.covered(keys, id);
        let mut fields = vec!["late", &self.late, "gone", &self.gone];
        let named = COVERED.iter().zip(covered.parts.iter().skip(2));
        fields.extend(named.filter_map(|(name, value)| Some([*name, value.as_deref()?])).flatten());
        fields.extend(self.seal.as_deref().map(|seal| ["seal", seal]).into_iter().flatten());
        // Strings always serialise.
        serde_json::to_string(&fields).unwrap_or_default()
    }
}

impl Connection {
    /// Returns the deferred request `id`, if the token of this digest is valid for it; `None`
    /// otherwise. After its settlement only the token identifies a request.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    pub async fn deferred(
        &self,
        keys: &QueueKeys,
        id: &str,
        digest: &str,
        timeout: Duration,
    ) -> Result<Option<(DeferredRun, Covered)>, StoreError> {
        let mut get = redis::cmd("HMGET");
        get.arg(keys.deferred(id)).arg(&COVERED).arg("seal");
        type Raw = Vec<Option<String>>;
        let mut found: Raw = self.with(timeout, async |conn| get.query_async(conn).await).await?;
        if found.len() != COVERED.len() + 1 {
            return Err(StoreError::Unexpected("HMGET"));
        }
        let seal = found.pop().flatten();
        let [token, name, attempt, seq, key, call, nonce, event, ..] = &found[..] else {
            return Err(StoreError::Unexpected("HMGET"));
        };
        if token.as_deref() != Some(digest) {
            return Ok(None);
        }
        let number = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
        let run = DeferredRun {
            name: name.clone().unwrap_or_default(),
            attempt: number(attempt).and_then(|it| u32::try_from(it).ok()).unwrap_or_default(),
            seq: number(seq).unwrap_or_default(),
            key: key.clone(),
            call: call.clone(),
            nonce: nonce.clone(),
            notify: event.as_deref() == Some("1"),
        };
        let mut parts = vec![Some(keys.name().to_owned()), Some(id.to_owned())];
        parts.append(&mut found);
        Ok(Some((run, Covered { parts, seal })))
    }

    /// Ends the request `id` with a frame, if the token of this digest is valid for it. `by`
    /// identifies the settler. `tail` is the frame without its first two fields; `error` is the
    /// code and reason of a failure; `keep` is `true` if later callers of the same idempotency key
    /// get this end.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may be settled; a retry under the same `by` returns the same
    /// result.
    pub async fn settle_deferred(
        &self,
        keys: &QueueKeys,
        (id, digest, by): (&str, &str, &str),
        (tail, error, keep): (&str, Option<(&str, &str)>, bool),
        timeout: Duration,
    ) -> Result<DeferredSettled, StoreError> {
        let (code, reason) = error.unwrap_or_default();
        let mut call = SETTLE.call(&[keys.deferred(id)]);
        call.arg(id).arg(digest).arg(by).arg(tail).arg(code).arg(reason).arg(i32::from(keep));
        settled(self.run(&SETTLE, &call, timeout).await?)
    }
}

/// Reads the script's reply.
pub(super) fn settled(value: Value) -> Result<DeferredSettled, StoreError> {
    Ok(match read("settle", value)? {
        1 => DeferredSettled::Yes,
        0 => DeferredSettled::Before,
        -1 => DeferredSettled::Unknown,
        2 => DeferredSettled::Late,
        _ => return Err(StoreError::Unexpected("settle")),
    })
}

/// Reads id, name and nonce of each request that `script` has ended.
pub(super) fn ended_deferred(
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
