//! Frames on the wire: 16 bytes with the length in decimal digits, then base64 in lines.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Decoder;

/// Length of the header, bytes.
const HEADER: usize = 16;
/// Characters of base64 in a line.
const LINE: usize = 76;

/// Takes frames apart. Memory grows with the bytes that have arrived.
#[derive(Debug)]
pub struct Frames {
    /// The largest frame, bytes without its header.
    limit: usize,
    /// The length of the frame whose header was read.
    body: Option<usize>,
}

/// Why a connection cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Its header is not a length.
    #[error("the header is not a length")]
    Header,
    /// The frame is larger than the door's bound.
    #[error("a frame of {length} bytes exceeds {limit} bytes")]
    TooLarge {
        /// Its length, bytes.
        length: usize,
        /// The bound, bytes.
        limit: usize,
    },
    /// The frame is not base64.
    #[error("the frame is not base64")]
    Base64,
    /// The connection failed, or ended within a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Frames {
    /// Accepts frames of at most `limit` bytes.
    #[must_use]
    pub fn up_to(limit: usize) -> Self {
        Self { limit, body: None }
    }

    /// Accepts frames of at most `limit` bytes from the next one on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }
}

impl Decoder for Frames {
    /// The pickle in a frame.
    type Item = Vec<u8>;
    type Error = FrameError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Vec<u8>>, FrameError> {
        let length = match self.body {
            Some(length) => length,
            None if bytes.len() < HEADER => return Ok(None),
            None => {
                let length = length(&bytes.split_to(HEADER)).ok_or(FrameError::Header)?;
                if length > self.limit {
                    return Err(FrameError::TooLarge { length, limit: self.limit });
                }
                self.body = Some(length);
                length
            }
        };
        if bytes.len() < length {
            return Ok(None);
        }
        self.body = None;
        let mut base64 = bytes.split_to(length).to_vec();
        base64.retain(|byte| *byte != b'\n');
        STANDARD.decode(base64).map(Some).map_err(|_| FrameError::Base64)
    }
}

/// Reads a header: digits, then spaces. Not empty, no sign, no zero.
fn length(header: &[u8]) -> Option<usize> {
    let digits = header.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = header.split_at(digits);
    let length = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (length > 0 && rest.iter().all(|byte| *byte == b' ')).then_some(length)
}

/// Writes a frame around a pickle.
#[must_use]
pub fn frame(pickle: &[u8]) -> Vec<u8> {
    let base64 = STANDARD.encode(pickle);
    let length = base64.len() + base64.len().div_ceil(LINE);
    let mut frame = format!("{length:<HEADER$}").into_bytes();
    for line in base64.as_bytes().chunks(LINE) {
        frame.extend_from_slice(line);
        frame.push(b'\n');
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(limit: usize, bytes: &[u8]) -> Result<Option<Vec<u8>>, FrameError> {
        Frames::up_to(limit).decode(&mut BytesMut::from(bytes))
    }

    #[test]
    fn frame_of_any_length_is_read_as_written() {
        for length in [1, 2, 3, 56, 57, 58, 114, 115, 4_000] {
            let pickle = vec![7; length];
            let frame = frame(&pickle);
            assert_eq!(decode(1 << 20, &frame).unwrap().as_ref(), Some(&pickle));
            assert!(decode(1 << 20, &frame[..frame.len() - 1]).unwrap().is_none());
        }
    }

    #[test]
    fn header_that_is_not_a_length_is_refused() {
        for header in [
            "GET / HTTP/1.1\r\n",
            "-5              ",
            "+5              ",
            "0               ",
            "                ",
            "            12  ",
            "1_0             ",
            "5\n              ",
            "5               ".replacen(' ', "\0", 1).as_str(),
        ] {
            let refused = decode(1 << 20, header.as_bytes());
            assert!(matches!(refused, Err(FrameError::Header)), "{header:?}");
        }
    }

    #[test]
    fn frame_above_the_limit_is_refused_by_its_header() {
        assert!(decode(100, b"100             ").unwrap().is_none());
        let refused = decode(100, b"101             ");
        assert!(matches!(refused, Err(FrameError::TooLarge { length: 101, limit: 100 })));
        let refused = decode(usize::MAX, b"9999999999999999");
        assert!(refused.unwrap().is_none(), "the length itself is a number");
    }
}
