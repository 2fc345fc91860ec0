//! The frames of a link: 4 bytes of length, big endian, then as many bytes of JSON.

use std::io;

use tokio_util::bytes::{Buf as _, Bytes, BytesMut};
use tokio_util::codec::Decoder;

/// The bytes of a length.
pub(super) const HEAD: usize = 4;

/// Cuts a stream of bytes into frames.
///
/// `tokio_util::codec::LengthDelimitedCodec` reserves the memory of a frame as soon as it has read
/// its length. This decoder reserves none: its buffer grows with the bytes that arrive, so that
/// lengths alone cost no memory.
#[derive(Debug, Clone)]
pub struct Frames {
    /// The largest frame, bytes.
    max: usize,
}

/// The error of a link whose bytes are not frames. The link ends with it.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer announces a frame over the limit.
    #[error("a frame of {length} bytes is over the limit of {max}")]
    TooLarge {
        /// The announced length, bytes.
        length: u32,
        /// The largest frame, bytes.
        max: usize,
    },
    /// The connection failed, or ended within a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Frames {
    /// Creates a decoder of frames of at most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max }
    }
}

impl Decoder for Frames {
    type Item = Bytes;
    type Error = FrameError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let Some(head) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head);
        let size = usize::try_from(length).ok().filter(|size| *size <= self.max);
        let size = size.ok_or(FrameError::TooLarge { length, max: self.max })?;
        if bytes.len() - HEAD < size {
            return Ok(None);
        }
        bytes.advance(HEAD);
        Ok(Some(bytes.split_to(size).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(frames: &mut Frames, bytes: &mut BytesMut) -> Vec<Bytes> {
        std::iter::from_fn(|| frames.decode(bytes).unwrap()).collect()
    }

    #[test]
    fn frames_split_anywhere_read_the_same() {
        let stream = b"\0\0\0\x02{}\0\0\0\0\0\0\0\x03[1]";
        for cut in 0..=stream.len() {
            let (mut frames, mut bytes) = (Frames::new(3), BytesMut::new());
            let mut read = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                bytes.extend_from_slice(part);
                read.extend(decoded(&mut frames, &mut bytes));
            }
            assert_eq!(read, [&b"{}"[..], b"", b"[1]"], "cut at {cut}");
        }
    }

    #[test]
    fn length_over_the_limit_is_refused_at_once() {
        let mut bytes = BytesMut::from(&b"\0\0\0\x04"[..]);
        let refused = Frames::new(3).decode(&mut bytes).unwrap_err();
        assert_eq!(refused.to_string(), "a frame of 4 bytes is over the limit of 3");
    }

    #[test]
    fn announced_length_reserves_no_memory() {
        let mut bytes = BytesMut::from(&b"\0\x10\0\0{"[..]);
        let before = bytes.capacity();
        assert!(Frames::new(2 << 20).decode(&mut bytes).unwrap().is_none());
        assert_eq!(bytes.capacity(), before);
    }

    #[test]
    fn end_within_a_frame_is_an_error() {
        let mut bytes = BytesMut::from(&b"\0\0"[..]);
        assert!(matches!(Frames::new(3).decode_eof(&mut bytes), Err(FrameError::Io(_))));
    }
}
