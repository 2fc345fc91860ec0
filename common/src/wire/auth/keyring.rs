//! The keys that create and verify signatures, and the token of a request.

use std::collections::BTreeMap;
use std::fmt;

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::message::{Claims, feed};
use crate::rules::digest::hex;
use crate::rules::name::is_id;
use crate::settings::{AuthKey, AuthSettings};

/// The longest validity of a signature from now, ms.
pub const LONGEST_MS: u64 = 7 * 24 * 3_600_000;

/// How far a caller's clock may be ahead of Redis's.
pub(super) const SLACK_MS: u64 = 60_000;

/// A request's signature: its field `auth`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Name of the key that made it.
    pub key: String,
    /// When it expires, Redis time in ms.
    pub expires_at: u64,
    /// HMAC-SHA-256 in lower-case hex.
    pub sig: String,
}

impl Token {
    /// Returns the token for a field `auth` that cannot be read: no key has its name.
    #[must_use]
    pub fn unreadable() -> Self {
        Self { key: String::new(), expires_at: 0, sig: String::new() }
    }

    /// Returns the name of its key, if that is a valid key name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        Some(&*self.key).filter(|name| is_id(name))
    }
}

// By hand: logs must not show a valid signature.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Token");
        shown.field("key", &self.key).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// The reason for refusing a request. Only for the log: the caller gets the same error for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request has no signature.
    #[error("the request is not signed")]
    Unsigned,
    /// None of our keys has signed it.
    #[error("the request is signed under an unknown key")]
    UnknownKey,
    /// The request was altered, or the secret differs.
    #[error("the signature of the request is wrong")]
    Wrong,
    /// The key may not call this job.
    #[error("the key of the request may not call this job")]
    Job,
    /// The signature expired before the request started.
    #[error("the signature of the request has expired")]
    Expired,
    /// The signature is valid for longer than allowed.
    #[error("the signature of the request is valid for more than 7 days")]
    TooLong,
    /// The request's id was used before.
    #[error("the id of the request was used before")]
    Replayed,
}

/// The keys of one program, from its settings. `frame.rs` has the signatures of frames.
#[derive(Clone)]
pub struct Keyring {
    pub(super) keys: BTreeMap<String, Key>,
    pub(super) sign_with: Option<String>,
    pub(super) required: bool,
}

#[derive(Clone)]
pub(super) struct Key {
    /// Initialised with the secret; each signature begins with a copy.
    pub(super) mac: Hmac<Sha256>,
    pub(super) jobs: Vec<String>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.keys.keys().collect();
        f.debug_struct("Keyring").field("keys", &names).field("sign_with", &self.sign_with).finish()
    }
}

impl Keyring {
    /// Builds the keys of `settings`.
    #[must_use]
    pub fn new(settings: &AuthSettings) -> Self {
        let key = |(name, key): (&String, &AuthKey)| {
            // HMAC accepts a secret of any length.
            let mac = Hmac::<Sha256>::new_from_slice(key.secret.reveal().as_bytes()).ok()?;
            Some((name.clone(), Key { mac, jobs: key.jobs.clone() }))
        };
        Self {
            keys: settings.keys.iter().filter_map(key).collect(),
            sign_with: settings.sign_with.clone(),
            required: settings.required,
        }
    }

    /// Returns the name of the key that signs our own requests.
    #[must_use]
    pub fn sign_with(&self) -> Option<&str> {
        self.sign_with.as_deref().filter(|name| self.keys.contains_key(*name))
    }

    /// Returns `true` if unsigned requests are refused.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// Signs a request with the key to sign with; `None` if there is no such key.
    #[must_use]
    pub fn sign(&self, claims: &Claims<'_>) -> Option<Token> {
        let name = self.sign_with.as_ref()?;
        let mut mac = self.keys.get(name)?.mac.clone();
        feed(&mut mac, claims);
        let (key, expires_at) = (name.clone(), claims.expires_at);
        Some(Token { key, expires_at, sig: hex(&mac.finalize().into_bytes()) })
    }
}

/// Verifies that a signature which expires at `expires_at` is valid at `now_ms`, both Redis time.
///
/// # Errors
///
/// If it has expired, or is valid for too long.
pub fn within_its_time(expires_at: u64, now_ms: u64) -> Result<(), Refusal> {
    if expires_at <= now_ms {
        return Err(Refusal::Expired);
    }
    if expires_at - now_ms > LONGEST_MS + SLACK_MS {
        return Err(Refusal::TooLong);
    }
    Ok(())
}

/// Decodes 32 bytes of hex; only lower case, so that each signature has one form.
pub(super) fn unhex(hex: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let hex: &[u8; 64] = hex.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}
