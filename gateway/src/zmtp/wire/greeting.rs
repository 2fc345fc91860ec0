//! The 64 bytes with which each side begins.

use crate::zmtp::wire::violation::Violation;

/// Length of a greeting, bytes.
pub const LENGTH: usize = 64;

/// The mechanism, padded.
const NULL: [u8; 20] = *b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The version that is announced: subscriptions then come as commands.
const OURS: [u8; 2] = [3, 1];

/// Returns the greeting of our side, in the form in which libzmq writes it.
#[must_use]
pub fn write() -> [u8; LENGTH] {
    let mut out = [0; LENGTH];
    // Between both ends of the signature, libzmq writes the length of an old identity frame.
    (out[0], out[8], out[9]) = (0xff, 1, 0x7f);
    out[10..12].copy_from_slice(&OURS);
    out[12..32].copy_from_slice(&NULL);
    out
}

/// Reads the minor version of a peer; `None` until all 64 bytes have arrived.
///
/// # Errors
///
/// As soon as the bytes that have arrived cannot begin a greeting of ZMTP 3 with NULL.
pub fn read(bytes: &[u8]) -> Result<Option<u8>, Violation> {
    let at = |index: usize| bytes.get(index).copied();
    if at(0).is_some_and(|byte| byte != 0xff) || at(9).is_some_and(|byte| byte & 1 == 0) {
        return Err(Violation::Signature);
    }
    if let Some(major) = at(10).filter(|major| *major < 3) {
        return Err(Violation::Version(major));
    }
    let Some(mechanism) = bytes.get(12..32) else { return Ok(None) };
    if mechanism != NULL {
        return Err(Violation::Mechanism);
    }
    Ok(if bytes.len() < LENGTH { None } else { at(11) })
}
