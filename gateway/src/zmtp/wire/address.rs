//! The frames before the body of a command: the addresses of its sender, and the delimiter.

use bytes::Bytes;

/// The frames that an answer repeats: addresses, if any, and the empty delimiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnPath(Vec<Bytes>);

impl ReturnPath {
    /// Splits a message after its delimiter; `None` without one.
    #[must_use]
    pub fn split(mut frames: Vec<Bytes>) -> Option<(Self, Vec<Bytes>)> {
        let delimiter = frames.iter().position(Bytes::is_empty)?;
        let body = frames.split_off(delimiter + 1);
        Some((Self(frames), body))
    }

    /// Returns the frames of an answer with this body.
    #[must_use]
    pub fn answer<'a>(&'a self, body: &'a [u8]) -> Vec<&'a [u8]> {
        self.0.iter().map(|frame| &**frame).chain([body]).collect()
    }
}
