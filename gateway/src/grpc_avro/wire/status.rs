//! The end of a call: code and message, as headers.

use std::fmt::Write as _;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// The largest message, bytes: headers are bounded on both ends.
const LONGEST: usize = 1024;

/// The codes of gRPC that this server answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrpcCode {
    Ok = 0,
    Cancelled = 1,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Aborted = 10,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

/// The end of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: GrpcCode,
    /// For the caller; never internals.
    pub(crate) message: String,
}

impl Status {
    pub(crate) fn new(code: GrpcCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn ok() -> Self {
        Self::new(GrpcCode::Ok, "")
    }

    /// Returns it as the trailers of a response.
    pub(crate) fn trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(2);
        self.add_to(&mut trailers);
        trailers
    }

    /// Adds it to the headers of a response without messages.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        const STATUS: HeaderName = HeaderName::from_static("grpc-status");
        const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
        headers.insert(STATUS, HeaderValue::from(self.code as u16));
        // Percent-encoded text is always a valid header.
        if let Ok(message) = HeaderValue::from_str(&encoded(&self.message))
            && !message.is_empty()
        {
            headers.insert(MESSAGE, message);
        }
    }
}

/// Percent-encodes all but printable ASCII, and `%` itself.
fn encoded(message: &str) -> String {
    let mut out = String::new();
    for byte in message[..message.floor_char_boundary(LONGEST)].bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_written_as_headers() {
        let trailers = Status::new(GrpcCode::NotFound, "100 % zażółć\n").trailers();
        assert_eq!(trailers["grpc-status"], "5");
        assert_eq!(trailers["grpc-message"], "100 %25 za%C5%BC%C3%B3%C5%82%C4%87%0A");
        let trailers = Status::ok().trailers();
        assert_eq!((trailers["grpc-status"].as_bytes(), trailers.len()), (&b"0"[..], 1));
    }

    #[test]
    fn long_message_is_cut_between_characters() {
        assert_eq!(encoded(&"ż".repeat(2000)).len(), 3 * LONGEST);
    }
}
