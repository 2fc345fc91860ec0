//! Signed requests and frames: HMAC-SHA-256 under a named key that caller and worker share.
//!
//! This module has the token, the content it signs, and the keys that create and verify it. The
//! worker decides which requests need one, and Redis remembers used ones. The format is in
//! docs/reference/protocol.md.

mod frame;
mod keyring;
mod message;
mod record;

pub use frame::{Call, Distrust, FrameClaims, Seal, Signer};
pub use keyring::{Keyring, LONGEST_MS, Refusal, Token, within_its_time};
pub use message::Claims;
pub use record::{Forged, Start, StateClaims, open_until};

#[cfg(test)]
mod tests;
