//! The digests that identify calls: by idempotency key, and by name and data.
//!
//! SHA-256 in lower-case hex, so that any client can compute the same: `sha256sum` does.

use sha2::{Digest, Sha256};

/// Returns the digest of `data` as the caller wrote it: calls with different data differ.
#[must_use]
pub fn of_data(data: &str) -> String {
    of_parts(&[data])
}

/// Returns the digest of a job's name and an idempotency key, with a line feed between them (names
/// never have one). For a signed request the name of its key, between two line feeds, comes first:
/// each key has its own calls.
#[must_use]
pub fn of_call(name: &str, idempotency_key: &str, key: Option<&str>) -> String {
    match key {
        Some(key) => of_parts(&["\n", key, "\n", name, "\n", idempotency_key]),
        None => of_parts(&[name, "\n", idempotency_key]),
    }
}

/// Returns the digest of a job's name and its data, with a line feed between them: its uniqueness
/// window.
#[must_use]
pub fn of_job(name: &str, data: &str) -> String {
    of_parts(&[name, "\n", data])
}

fn of_parts(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// Encodes bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_sha256sum() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_data("abc"), abc);
        assert_eq!(of_call("a", "b", None), of_data("a\nb"));
        assert_eq!(of_call("a", "b", Some("k")), of_data("\nk\na\nb"));
        assert_ne!(of_call("a", "b", None), of_call("ab", "", None));
        // A name has no line feed, so that no unsigned call equals a signed one.
        assert_ne!(of_call("a", "b", Some("k")), of_call("k", "a\nb", None));
    }
}
