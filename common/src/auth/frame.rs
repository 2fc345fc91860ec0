//! Signed frames: under the key of their request, so that its caller can judge them.

use std::fmt;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::Sha256;

use super::message::feed_all;
use super::{Claims, Keyring, hex, unhex};
use crate::digest;
use crate::error::WireError;
use crate::frame::{Frame, FrameType};

/// A frame's signature: its field `auth`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Seal {
    /// Name of the key that made it.
    pub key: String,
    /// Of a call under an idempotency key, whose end others get as well: its digest, which is then
    /// covered in the place of id and response key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// HMAC-SHA-256 in lower-case hex.
    pub sig: String,
}

/// What a frame's signature covers.
#[derive(Debug, Clone, Copy)]
pub struct FrameClaims<'a> {
    /// The request's id.
    pub id: &'a str,
    /// Where the frame lies.
    pub response_key: &'a str,
    /// What the frame is.
    pub kind: FrameType,
    /// Position within its attempt.
    pub seq: u64,
    /// Which run of the job wrote it.
    pub attempt: u32,
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

/// What a client knows of the call whose frame it judges.
#[derive(Debug, Clone, Copy)]
pub enum Call<'a> {
    /// Its digest, if it has an idempotency key.
    Known(Option<&'a str>),
    /// Nothing: somebody else made it.
    Unknown,
}

/// Why a frame is not taken as one of a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// It is not signed, or not as a frame of that call.
    #[error("the answer is not signed under a key that this client has")]
    Unsigned,
    /// It is signed under a key of this client that is not the key of its request.
    #[error("the answer is signed under `{found}`, and this client signs under `{own}`")]
    OtherKey {
        /// The key that has signed it.
        found: String,
        /// The key of the request.
        own: String,
    },
}

/// First part of the message of a frame: a signature of something else is none.
const FRAME: &str = "redcall frame 1";

impl Signer {
    pub(super) fn new(key: &str, mac: &Hmac<Sha256>, claims: &Claims<'_>) -> Self {
        let idempotency_key = claims.idempotency_key;
        let call = idempotency_key.map(|of| digest::of_call(claims.name, of, Some(key)));
        Self { key: key.to_owned(), mac: mac.clone(), call }
    }

    /// Name of the key that it signs under.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The digest of the call whose frames it signs, if that has an idempotency key.
    #[must_use]
    pub fn call(&self) -> Option<&str> {
        self.call.as_deref()
    }

    /// The signature of a frame.
    #[must_use]
    pub fn seal(&self, claims: &FrameClaims<'_>) -> Seal {
        let mut mac = self.mac.clone();
        feed(&mut mac, claims, self.call.as_deref());
        let sig = hex(&mac.finalize().into_bytes());
        Seal { key: self.key.clone(), call: self.call.clone(), sig }
    }
}

impl Keyring {
    /// Signs frames under the key of this name, as `call` says ([`Signer::call`]); `None` if there
    /// is no such key here.
    #[must_use]
    pub fn signer(&self, key: &str, call: Option<&str>) -> Option<Signer> {
        let mac = self.keys.get(key)?.mac.clone();
        Some(Signer { key: key.to_owned(), mac, call: call.map(str::to_owned) })
    }

    /// Judges a frame that lay at `response_key`: it has to be signed as a frame of that call, and
    /// under the key of its request. That is the key under which this client signs; a client
    /// without one takes frames under each of its keys. A frame without a signature passes where
    /// our own requests have none, or need none.
    ///
    /// # Errors
    ///
    /// Why it is not taken.
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
        // Each holder of another key could answer in the name of the workers.
        if let Some(own) = self.sign_with.as_ref().filter(|own| **own != seal.key) {
            return Err(Distrust::OtherKey { found: seal.key, own: own.clone() });
        }
        let mut mac = key.mac.clone();
        let Frame { id, kind, seq, attempt, data, error, auth: _ } = frame;
        let (kind, seq, attempt) = (*kind, *seq, *attempt);
        let (data, error) = (data.as_deref(), error.as_ref());
        let claims = FrameClaims { id, response_key, kind, seq, attempt, data, error };
        feed(&mut mac, &claims, seal.call.as_deref());
        // In constant time.
        if is_of_call && mac.verify_slice(&sig).is_ok() { Ok(()) } else { Err(Distrust::Unsigned) }
    }
}

fn feed<'a>(mac: &mut Hmac<Sha256>, claims: &FrameClaims<'a>, call: Option<&'a str>) {
    let FrameClaims { id, response_key, kind, seq, attempt, data, error } = *claims;
    // Who reads a frame cannot tell a `null` from nothing.
    let json = |data: Option<&'a RawValue>| data.map(RawValue::get).filter(|data| *data != "null");
    // The end of a call is pushed to all who joined it, each under an id of their own.
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
}
