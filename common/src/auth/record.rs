//! Signed records: what workers leave at Redis for each other, and no neighbour may rewrite.
//!
//! Each is signed under the key of the request that it comes from: a worker that may run the
//! request can judge it. A record that was there before and is put back looks the same.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::message::feed_all;
use super::{Keyring, LONGEST_MS, Signer, Token, hex, matches, unhex};
use crate::name::SERVICE;

/// First parts of the messages: a signature of something else is none.
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
    /// The request's signature: the record is of this request and of no other of its id.
    pub token: &'a Token,
}

/// The state of a service's instance.
#[derive(Debug, Clone, Copy)]
pub struct StateClaims<'a> {
    /// Name of the service's queue.
    pub queue: &'a str,
    /// The instance's key.
    pub instance: &'a str,
    /// How many changes there were since its beginning, this one included.
    pub version: u64,
    /// JSON.
    pub state: &'a str,
}

/// Why a record is not one that a worker has left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// It bears no signature.
    #[error("it is not signed, and `auth.required` says that it has to be")]
    Unsigned,
    /// The key of its signature is not known here, or may not call the job.
    #[error("it is signed under `{0}`, a key that is not known here or may not call this job")]
    Key(String),
    /// Something was changed, or the signature cannot be read.
    #[error("its signature is wrong")]
    Wrong,
}

impl Start<'_> {
    fn parts<'a>(&'a self, run: &'a str, until_ms: &'a str) -> [Option<&'a str>; 6] {
        [START, self.queue, self.id, &self.token.sig, run, until_ms].map(Some)
    }
}

impl Signer {
    /// The record of a start by `run` (a text without spaces), which holds until `until_ms`, Redis
    /// time.
    #[must_use]
    pub fn started(&self, start: &Start<'_>, run: &str, until_ms: u64) -> String {
        let until = until_ms.to_string();
        format!("{OPEN} {run} {until} {}", sign(&self.mac, &start.parts(run, &until)))
    }

    /// Returns `true` if `record` says that this request was started, and has not ended by `now_ms`
    /// (Redis time).
    #[must_use]
    pub fn is_open(&self, start: &Start<'_>, record: &str, now_ms: u64) -> bool {
        let parts: Vec<&str> = record.split(' ').collect();
        let [OPEN, run, until, sig] = parts[..] else { return false };
        let in_time = until.parse().is_ok_and(|until: u64| until > now_ms);
        in_time && holds(&self.mac, &start.parts(run, until), sig)
    }

    /// Returns `true` if `record` is one that `run` has made of this start, by its form.
    #[must_use]
    pub fn is_of(&self, record: &str, run: &str) -> bool {
        record.split(' ').nth(1) == Some(run)
    }

    /// The seal of a service's state: the key's name and the signature.
    #[must_use]
    pub fn seal_state(&self, claims: &StateClaims<'_>) -> String {
        let version = claims.version.to_string();
        format!("{} {}", self.key(), sign(&self.mac, &state_parts(claims, &version)))
    }

    /// The seal of a deferred request's record, with its `parts` in the order of
    /// docs/reference/protocol.md.
    #[must_use]
    pub fn seal_deferred(&self, parts: &[Option<&str>]) -> String {
        sign(&self.mac, &[&[Some(DEFERRED)], parts].concat())
    }

    /// Returns `true` if that seal is of these parts.
    #[must_use]
    pub fn sealed_deferred(&self, parts: &[Option<&str>], seal: &str) -> bool {
        holds(&self.mac, &[&[Some(DEFERRED)], parts].concat(), seal)
    }
}

impl Keyring {
    /// Judges the state of a service's instance by its seal. One without a seal passes where
    /// requests need not be signed.
    ///
    /// # Errors
    ///
    /// Why it is not what a worker has left.
    pub fn verify_state(&self, claims: &StateClaims<'_>, seal: Option<&str>) -> Result<(), Forged> {
        let Some(seal) = seal else {
            return if self.required { Err(Forged::Unsigned) } else { Ok(()) };
        };
        let (name, sig) = seal.split_once(' ').ok_or(Forged::Wrong)?;
        let service = claims.queue.strip_prefix(SERVICE).unwrap_or(claims.queue);
        let may_call = |jobs: &[String]| jobs.iter().any(|pattern| matches(pattern, service));
        let Some(key) = self.keys.get(name).filter(|key| may_call(&key.jobs)) else {
            let name = if crate::name::is_id(name) { name } else { "?" };
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

/// Until when a start that is recorded now may go on: longer than its signature holds, for retries
/// and take-overs, with a bound. Both are Redis time, ms.
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
