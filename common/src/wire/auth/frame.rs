//! Signed frames: signed with the key of their request, so that the caller can verify them.

use std::fmt;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::Sha256;

use super::keyring::{Keyring, Refusal, Token, unhex};
use super::message::{self, Claims, feed_all};
use crate::rules::digest::{self, hex};
use crate::rules::error::WireError;
use crate::rules::pattern::matches;
use crate::wire::frame::{Deferral, Frame, FrameType};

/// A frame's signature: its field `auth`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Seal {
    /// Name of the key that made it.
    pub key: String,
    /// For a call under an idempotency key, whose end other callers get too: its digest, which is
    /// signed instead of id and response key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// HMAC-SHA-256 in lower-case hex.
    pub sig: String,
}

/// The content that a frame's signature covers.
#[derive(Debug, Clone, Copy)]
pub struct FrameClaims<'a> {
    /// The request's id.
    pub id: &'a str,
    /// The response key of the frame.
    pub response_key: &'a str,
    /// The frame's type.
    pub kind: FrameType,
    /// Position within its attempt.
    pub seq: u64,
    /// The run that wrote it.
    pub attempt: u32,
    /// Of a `deferred` frame: how the answer ends.
    pub deferral: Deferral,
    /// Its data, as JSON.
    pub data: Option<&'a RawValue>,
    /// Its error.
    pub error: Option<&'a WireError>,
}

/// Signs the frames of one request.
#[derive(Clone)]
pub struct Signer {
    key: String,
    pub(super) mac: Hmac<Sha256>,
    call: Option<String>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The client's knowledge of the call whose frame it verifies.
#[derive(Debug, Clone, Copy)]
pub enum Call<'a> {
    /// Its digest, if it has an idempotency key.
    Known(Option<&'a str>),
    /// Unknown: another program made the call.
    Unknown,
}

/// The reason for rejecting a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// It is not signed, or not for this call.
    #[error("the answer is not signed with a key of this client")]
    Unsigned,
    /// It is signed under a key of this client that is not the key of its request.
    #[error("the answer is signed with key `{found}`, but this client signs with `{own}`")]
    OtherKey {
        /// The key that signed it.
        found: String,
        /// The key of the request.
        own: String,
    },
}

/// First part of a frame's signed message, which separates frames from other signatures.
const FRAME: &str = "redcall frame 1";

impl Signer {
    pub(super) fn new(key: &str, mac: &Hmac<Sha256>, claims: &Claims<'_>) -> Self {
        let idempotency_key = claims.idempotency_key;
        let call = idempotency_key.map(|of| digest::of_call(claims.name, of, Some(key)));
        Self { key: key.to_owned(), mac: mac.clone(), call }
    }

    /// Returns the name of its key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the digest of the call whose frames it signs, if the call has an idempotency key.
    #[must_use]
    pub fn call(&self) -> Option<&str> {
        self.call.as_deref()
    }

    /// Signs a frame.
    #[must_use]
    pub fn seal(&self, claims: &FrameClaims<'_>) -> Seal {
        let mut mac = self.mac.clone();
        feed(&mut mac, claims, self.call.as_deref());
        let sig = hex(&mac.finalize().into_bytes());
        Seal { key: self.key.clone(), call: self.call.clone(), sig }
    }
}

impl Keyring {
    /// Verifies that `token` was made with one of these keys for `claims`, and that the key may
    /// call the job. Does not check its expiry: see [`super::within_its_time`]. Returns the signer
    /// for the request's frames, with the same key.
    ///
    /// # Errors
    ///
    /// The reason for refusing it.
    pub fn verify(&self, claims: &Claims<'_>, token: &Token) -> Result<Signer, Refusal> {
        let key = self.keys.get(&token.key).ok_or(Refusal::UnknownKey)?;
        let mut mac = key.mac.clone();
        message::feed(&mut mac, claims);
        let sig = unhex(&token.sig).ok_or(Refusal::Wrong)?;
        // In constant time.
        mac.verify_slice(&sig).map_err(|_| Refusal::Wrong)?;
        if key.jobs.iter().any(|pattern| matches(pattern, claims.name)) {
            Ok(Signer::new(&token.key, &key.mac, claims))
        } else {
            Err(Refusal::Job)
        }
    }

    /// Returns a signer with the key of this name, for `call` ([`Signer::call`]); `None` if there
    /// is no such key.
    #[must_use]
    pub fn signer(&self, key: &str, call: Option<&str>) -> Option<Signer> {
        let mac = self.keys.get(key)?.mac.clone();
        Some(Signer { key: key.to_owned(), mac, call: call.map(str::to_owned) })
    }

    /// Verifies a frame from `response_key`: it has to be signed for that call, with the key of its
    /// request. That is the key with which this client signs; a client without one accepts frames
    /// under each of its keys. An unsigned frame passes if our own requests are unsigned, or need
    /// no signature.
    ///
    /// # Errors
    ///
    /// The reason for rejecting it.
    pub fn judge(
        &self,
        frame: &Frame,
        response_key: &str,
        known: Call<'_>,
    ) -> Result<(), Distrust> {
        let Some(auth) = &frame.auth else {
            let passes = !self.required || self.sign_with.is_none();
            return if passes { Ok(()) } else { Err(Distrust::Unsigned) };
        };
        let seal: Seal = serde_json::from_str(auth.get()).map_err(|_| Distrust::Unsigned)?;
        let is_of_call = match known {
            Call::Known(call) => seal.call.as_deref() == call,
            Call::Unknown => true,
        };
        let (Some(key), Some(sig)) = (self.keys.get(&seal.key), unhex(&seal.sig)) else {
            return Err(Distrust::Unsigned);
        };
        // A holder of another key could otherwise answer in place of the workers.
        if let Some(own) = self.sign_with.as_ref().filter(|own| **own != seal.key) {
            return Err(Distrust::OtherKey { found: seal.key, own: own.clone() });
        }
        let mut mac = key.mac.clone();
        let Frame { id, kind, seq, attempt, deferral, data, error, auth: _ } = frame;
        let (kind, seq, attempt) = (*kind, *seq, *attempt);
        let deferral = deferral.as_deref().copied().unwrap_or_default();
        let (data, error) = (data.as_deref(), error.as_deref());
        let claims = FrameClaims { id, response_key, kind, seq, attempt, deferral, data, error };
        feed(&mut mac, &claims, seal.call.as_deref());
        // In constant time.
        if is_of_call && mac.verify_slice(&sig).is_ok() { Ok(()) } else { Err(Distrust::Unsigned) }
    }
}

fn feed<'a>(mac: &mut Hmac<Sha256>, claims: &FrameClaims<'a>, call: Option<&'a str>) {
    let FrameClaims { id, response_key, kind, seq, attempt, data, error, .. } = *claims;
    // A reader cannot distinguish `null` from absence.
    let json = |data: Option<&'a RawValue>| data.map(RawValue::get).filter(|data| *data != "null");
    // The end of a call is pushed to all callers that joined it, each with its own id.
    let own = call.is_none();
    let (seq, attempt) = (seq.to_string(), attempt.to_string());
    feed_all(mac, [Some(FRAME), own.then_some(id), own.then_some(response_key), call]);
    feed_all(mac, [Some(kind.as_str()), Some(&*seq), Some(&*attempt), json(data)]);
    let ran = error.and_then(|error| error.attempt).map(|attempt| attempt.to_string());
    feed_all(
        mac,
        [
            error.map(|error| error.code.as_str()),
            error.map(|error| error.message.as_str()),
            json(error.and_then(|error| error.data.as_deref())),
            ran.as_deref(),
        ],
    );
    // Of other frames, no reader uses these members.
    if kind == FrameType::Deferred {
        let Deferral { notify, until_ms } = claims.deferral;
        let notify = notify.map(|notify| if notify { "true" } else { "false" });
        let until_ms = until_ms.map(|until_ms| until_ms.to_string());
        feed_all(mac, [notify, until_ms.as_deref()]);
    }
}
