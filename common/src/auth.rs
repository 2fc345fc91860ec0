//! Signed requests and frames: HMAC-SHA-256 under a named key that caller and worker share.
//!
//! Here are the token, what it covers, and the keys that make and judge it. Which requests need one
//! is for the worker to say, and whether one was used before for Redis. The form is in
//! docs/reference/protocol.md.

mod frame;
mod message;
mod record;

use std::collections::BTreeMap;
use std::fmt;

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

pub use frame::{Call, Distrust, FrameClaims, Seal, Signer};
pub use message::Claims;
use message::feed;
pub use record::{Forged, Start, StateClaims, open_until};

use crate::digest::hex;
use crate::name::is_id;
use crate::settings::{AuthKey, AuthSettings};

/// The farthest that a signature may reach into the future, ms.
pub const LONGEST_MS: u64 = 7 * 24 * 3_600_000;

/// How far the clock of a caller may be ahead: ours is Redis's, theirs perhaps their own.
const SLACK_MS: u64 = 60_000;

/// A request's signature: its field `auth`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Name of the key that made it.
    pub key: String,
    /// Until when it holds, Redis time in ms.
    pub expires_at: u64,
    /// HMAC-SHA-256 in lower-case hex.
    pub sig: String,
}

impl Token {
    /// Of a field `auth` that cannot be read: no key has this name.
    #[must_use]
    pub fn unreadable() -> Self {
        Self { key: String::new(), expires_at: 0, sig: String::new() }
    }

    /// Name of its key, if a key can have that name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        Some(&*self.key).filter(|name| is_id(name))
    }
}

// By hand: whoever reads a log must not find a signature that still holds.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Token");
        shown.field("key", &self.key).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Why a request is refused. For the log: its caller hears the same of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It bears no signature.
    #[error("it is not signed")]
    Unsigned,
    /// None of ours has made the signature.
    #[error("it is signed under a key that is not known here")]
    UnknownKey,
    /// Something was altered, or the secret is another one.
    #[error("its signature is wrong")]
    Wrong,
    /// The key may not call that job.
    #[error("its key may not call this job")]
    Job,
    /// Its time was over before it started.
    #[error("its signature has expired")]
    Expired,
    /// It holds for longer than any may.
    #[error("its signature holds for more than 7 days")]
    TooLong,
    /// Its id has run before.
    #[error("it was used before")]
    Replayed,
}

/// The keys of one program. Made of its settings. Their signatures of frames: `frame.rs`.
#[derive(Clone)]
pub struct Keyring {
    keys: BTreeMap<String, Key>,
    sign_with: Option<String>,
    required: bool,
}

#[derive(Clone)]
struct Key {
    /// Has taken in the secret; each signature begins with a copy.
    mac: Hmac<Sha256>,
    jobs: Vec<String>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.keys.keys().collect();
        f.debug_struct("Keyring").field("keys", &names).field("sign_with", &self.sign_with).finish()
    }
}

impl Keyring {
    /// The keys of `settings`.
    #[must_use]
    pub fn new(settings: &AuthSettings) -> Self {
        let key = |(name, key): (&String, &AuthKey)| {
            // A secret may have any length: there is no error that could come of it.
            let mac = Hmac::<Sha256>::new_from_slice(key.secret.reveal().as_bytes()).ok()?;
            Some((name.clone(), Key { mac, jobs: key.jobs.clone() }))
        };
        Self {
            keys: settings.keys.iter().filter_map(key).collect(),
            sign_with: settings.sign_with.clone(),
            required: settings.required,
        }
    }

    /// Name of the key under which our own requests are signed.
    #[must_use]
    pub fn sign_with(&self) -> Option<&str> {
        self.sign_with.as_deref().filter(|name| self.keys.contains_key(*name))
    }

    /// Whether what is not signed is refused.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// The token of a request, under the key to sign with; none if there is no such key.
    #[must_use]
    pub fn sign(&self, claims: &Claims<'_>) -> Option<Token> {
        let name = self.sign_with.as_ref()?;
        let mut mac = self.keys.get(name)?.mac.clone();
        feed(&mut mac, claims);
        let (key, expires_at) = (name.clone(), claims.expires_at);
        Some(Token { key, expires_at, sig: hex(&mac.finalize().into_bytes()) })
    }

    /// Whether `token` is of one of these keys, covers `claims`, and is of a key that may call that
    /// job. When it ends is another question: [`within_its_time`].
    /// Gives what signs the frames of that request, under the same key.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn verify(&self, claims: &Claims<'_>, token: &Token) -> Result<Signer, Refusal> {
        let key = self.keys.get(&token.key).ok_or(Refusal::UnknownKey)?;
        let mut mac = key.mac.clone();
        feed(&mut mac, claims);
        let sig = unhex(&token.sig).ok_or(Refusal::Wrong)?;
        // In constant time.
        mac.verify_slice(&sig).map_err(|_| Refusal::Wrong)?;
        if key.jobs.iter().any(|pattern| matches(pattern, claims.name)) {
            Ok(Signer::new(&token.key, &key.mac, claims))
        } else {
            Err(Refusal::Job)
        }
    }
}

/// Whether a signature that ends at `expires_at` holds at `now_ms`, both Redis time.
///
/// # Errors
///
/// That it does not any more, or that it reaches too far.
pub fn within_its_time(expires_at: u64, now_ms: u64) -> Result<(), Refusal> {
    if expires_at <= now_ms {
        return Err(Refusal::Expired);
    }
    if expires_at - now_ms > LONGEST_MS + SLACK_MS {
        return Err(Refusal::TooLong);
    }
    Ok(())
}

/// Whether a name is what `pattern` says: the name itself, or what comes before a `*` at the end is
/// how it begins.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

/// Whether `pattern` is one: a `*` stands at its end or nowhere.
#[must_use]
pub fn is_pattern(pattern: &str) -> bool {
    let start = pattern.strip_suffix('*').unwrap_or(pattern);
    let form = |c: char| c != '*' && !c.is_control() && !c.is_whitespace();
    !pattern.is_empty() && start.chars().all(form)
}

/// The 32 bytes that `hex` writes; only in lower case, so that each signature has one form.
fn unhex(hex: &str) -> Option<[u8; 32]> {
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

#[cfg(test)]
mod tests;
