//! `hash_file`: the digest of one file. A plain function, run on the blocking pool.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};

use redcall_worker::{HandlerError, Json, State};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::root::{Refused, Root};

/// Size of the read buffer, bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// Its data.
#[derive(Deserialize)]
pub(crate) struct Target {
    path: String,
}

/// Its answer.
#[derive(Serialize)]
pub(crate) struct Hashed {
    sha256: String,
    bytes: u64,
}

/// `{"path": "a/b.rs"}` -> `{"sha256": "9f86…", "bytes": 4}`
pub(crate) fn hash_file(
    Json(Target { path }): Json<Target>,
    root: State<Root>,
) -> Result<Json<Hashed>, HandlerError> {
    let hashed = File::open(root.resolve(&path)?).and_then(hash);
    Ok(Json(hashed.map_err(|source| Refused::Unreadable { path, source })?))
}

fn hash(mut file: File) -> io::Result<Hashed> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut sha256, mut bytes) = (Sha256::new(), 0);
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => return Ok(Hashed { sha256: hex(&sha256.finalize()), bytes }),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        sha256.update(&buffer[..read]);
        bytes += read as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_matches_the_standard() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("abc"), "abc").unwrap();
        let hashed = hash(File::open(folder.path().join("abc")).unwrap()).unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((hashed.sha256.as_str(), hashed.bytes), (known, 3));
    }
}
