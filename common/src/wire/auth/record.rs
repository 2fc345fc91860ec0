//! Signed records: stored at Redis by workers for other workers, and protected against changes by
//! other users of Redis.
//!
//! Each is signed with the key of its request: a worker that may run the request can verify it. The
//! signature does not detect an older record that was put back.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::frame::Signer;
use super::keyring::{Keyring, LONGEST_MS, Token, unhex};
use super::message::feed_all;
use crate::rules::digest::hex;
use crate::rules::name::SERVICE;
use crate::rules::pattern::matches;

/// First parts of the signed messages, which separate the kinds of signatures.
const START: &str = "redcall start 1";
const STATE: &str = "redcall state 1";
const DEFERRED: &str = "redcall deferred 1";

/// First word of the record of a start, while the request has not ended.
const OPEN: &str = "open";

/// The start of a signed request.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// The queue's name.
    pub queue: &'a str,
    /// The request's id.
    pub id: &'a str,
    /// The request's signature: it binds the record to this request, not only to its id.
    pub token: &'a Token,
}

/// The state of a service's instance.
#[derive(Debug, Clone, Copy)]
pub struct StateClaims<'a> {
    /// Name of the service's queue.
    pub queue: &'a str,
    /// The instance's key.
    pub instance: &'a str,
    /// The number of changes since its creation, including this one.
    pub version: u64,
    /// JSON.
    pub state: &'a str,
}

/// The reason for rejecting a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// It has no signature.
    #[error("it is not signed, but `auth.required` is set")]
    Unsigned,
    /// The key of its signature is unknown, or may not call the job.
    #[error("it is signed with key `{0}`, which is unknown or may not call this job")]
    Key(String),
    /// The record was altered, or the signature cannot be read.
    #[error("its signature is wrong")]
    Wrong,
}

impl Start<'_> {
    fn parts<'a>(&'a self, run: &'a str, until_ms: &'a str) -> [Option<&'a str>; 6] {
        [START, self.queue, self.id, &self.token.sig, run, until_ms].map(Some)
    }
}

impl Signer {
    /// Returns the record of a start by `run` (a text without spaces), which is valid until
    /// `until_ms`, Redis time.
    #[must_use]
    pub fn started(&self, start: &Start<'_>, run: &str, until_ms: u64) -> String {
        let until = until_ms.to_string();
        format!("{OPEN} {run} {until} {}", sign(&self.mac, &start.parts(run, &until)))
    }

    /// Returns `true` if `record` shows that this request was started, and had not ended by
    /// `now_ms` (Redis time).
    #[must_use]
    pub fn is_open(&self, start: &Start<'_>, record: &str, now_ms: u64) -> bool {
        let parts: Vec<&str> = record.split(' ').collect();
        let [OPEN, run, until, sig] = parts[..] else { return false };
        let in_time = until.parse().is_ok_and(|until: u64| until > now_ms);
        in_time && holds(&self.mac, &start.parts(run, until), sig)
    }

    /// Returns `true` if `run` has made `record` of this start, judged by its form.
    #[must_use]
    pub fn is_of(&self, record: &str, run: &str) -> bool {
        record.split(' ').nth(1) == Some(run)
    }

    /// Returns the seal of a service's state: the key's name and the signature.
    #[must_use]
    pub fn seal_state(&self, claims: &StateClaims<'_>) -> String {
        let version = claims.version.to_string();
        format!("{} {}", self.key(), sign(&self.mac, &state_parts(claims, &version)))
    }

    /// Returns the seal of a deferred request's record. `parts` are in the order of
    /// docs/reference/protocol.md.
    #[must_use]
    pub fn seal_deferred(&self, parts: &[Option<&str>]) -> String {
        sign(&self.mac, &[&[Some(DEFERRED)], parts].concat())
    }

    /// Returns `true` if the seal matches these parts.
    #[must_use]
    pub fn sealed_deferred(&self, parts: &[Option<&str>], seal: &str) -> bool {
        holds(&self.mac, &[&[Some(DEFERRED)], parts].concat(), seal)
    }
}

impl Keyring {
    /// Verifies the state of a service instance by its seal. A state without a seal passes if
    /// requests need no signature.
    ///
    /// # Errors
    ///
    /// The reason for rejecting it.
    pub fn verify_state(&self, claims: &StateClaims<'_>, seal: Option<&str>) -> Result<(), Forged> {
        let Some(seal) = seal else {
            return if self.required { Err(Forged::Unsigned) } else { Ok(()) };
        };
        let (name, sig) = seal.split_once(' ').ok_or(Forged::Wrong)?;
        let service = claims.queue.strip_prefix(SERVICE).unwrap_or(claims.queue);
        let may_call = |jobs: &[String]| jobs.iter().any(|pattern| matches(pattern, service));
        let Some(key) = self.keys.get(name).filter(|key| may_call(&key.jobs)) else {
            let name = if crate::rules::name::is_id(name) { name } else { "?" };
            return Err(Forged::Key(name.to_owned()));
        };
        let version = claims.version.to_string();
        if holds(&key.mac, &state_parts(claims, &version), sig) {
            Ok(())
        } else {
            Err(Forged::Wrong)
        }
    }
}

/// Returns until when a start that is recorded now may continue: longer than its signature is
/// valid, for retries and take-overs, but bounded. Both are Redis time, ms.
#[must_use]
pub fn open_until(expires_at: u64, now_ms: u64) -> u64 {
    expires_at.max(now_ms.saturating_add(LONGEST_MS))
}

fn state_parts<'a>(claims: &StateClaims<'a>, version: &'a str) -> [Option<&'a str>; 5] {
    let StateClaims { queue, instance, version: _, state } = *claims;
    [STATE, queue, instance, version, state].map(Some)
}

fn sign(mac: &Hmac<Sha256>, parts: &[Option<&str>]) -> String {
    let mut mac = mac.clone();
    feed_all(&mut mac, parts.iter().copied());
    hex(&mac.finalize().into_bytes())
}

fn holds(mac: &Hmac<Sha256>, parts: &[Option<&str>], sig: &str) -> bool {
    let Some(sig) = unhex(sig) else { return false };
    let mut mac = mac.clone();
    feed_all(&mut mac, parts.iter().copied());
    // In constant time.
    mac.verify_slice(&sig).is_ok()
}
