//! Bounded decompression.

use std::io::Read as _;

use flate2::read::ZlibDecoder;

use super::refused::Refused;

/// Decompresses a zlib stream of at most `limit` bytes. Memory grows with what has been
/// decompressed, and stops at the limit.
///
/// # Errors
///
/// [`Refused::TooLarge`], or [`Refused::Compressed`] if the stream is damaged, cut off, or followed
/// by other bytes.
pub fn inflate(compressed: &[u8], limit: usize) -> Result<Vec<u8>, Refused> {
    let mut decoder = ZlibDecoder::new(compressed);
    let mut inflated = Vec::new();
    let upto = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = decoder.by_ref().take(upto).read_to_end(&mut inflated);
    if inflated.len() > limit {
        return Err(Refused::TooLarge(limit));
    }
    read.map_err(|_| Refused::Compressed)?;
    // A stream that is exactly as long as the limit has not been read to its checksum yet.
    let rest = decoder.read(&mut [0]).map_err(|_| Refused::Compressed)?;
    let is_whole = rest == 0 && decoder.total_in() == compressed.len() as u64;
    if is_whole { Ok(inflated) } else { Err(Refused::Compressed) }
}
