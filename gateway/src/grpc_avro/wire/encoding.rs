//! Compressed requests. Responses are never compressed.

use std::io::Read as _;

use flate2::read::{GzDecoder, ZlibDecoder};

use crate::grpc_avro::wire::status::{GrpcCode, Status};

/// The encodings that the server accepts, as it names them.
pub(crate) const ACCEPTED: &str = "identity, deflate, gzip";

/// The encoding of a request's compressed messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Messages are not compressed.
    Identity,
    Deflate,
    Gzip,
}

impl Encoding {
    /// Returns the encoding that the header `grpc-encoding` names.
    ///
    /// # Errors
    ///
    /// UNIMPLEMENTED for others.
    pub(crate) fn of(header: Option<&[u8]>) -> Result<Self, Status> {
        match header {
            None | Some(b"identity") => Ok(Self::Identity),
            Some(b"deflate") => Ok(Self::Deflate),
            Some(b"gzip") => Ok(Self::Gzip),
            Some(_) => {
                let message = format!("unknown grpc-encoding; accepted are {ACCEPTED}");
                Err(Status::new(GrpcCode::Unimplemented, message))
            }
        }
    }

    /// Returns a compressed message as it was, at most `limit` bytes: decompression stops there.
    ///
    /// # Errors
    ///
    /// RESOURCE_EXHAUSTED for a larger message, INTERNAL for a request without an encoding,
    /// INVALID_ARGUMENT for other bytes.
    pub(crate) fn decompressed(self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Status> {
        let mut out = Vec::new();
        // One more byte shows that there are more.
        let max = limit as u64 + 1;
        let read = match self {
            Self::Deflate => ZlibDecoder::new(bytes).take(max).read_to_end(&mut out),
            Self::Gzip => GzDecoder::new(bytes).take(max).read_to_end(&mut out),
            Self::Identity => {
                let message = "the message is compressed, and no grpc-encoding is given";
                return Err(Status::new(GrpcCode::Internal, message));
            }
        };
        match read {
            Ok(size) if size <= limit => Ok(out),
            Ok(_) => Err(too_large(limit)),
            Err(_) => {
                let message = "the compressed message is damaged";
                Err(Status::new(GrpcCode::InvalidArgument, message))
            }
        }
    }
}

/// The end of a call whose message is over `limit`.
pub(crate) fn too_large(limit: usize) -> Status {
    let message = format!("the message has more than {limit} bytes");
    Status::new(GrpcCode::ResourceExhausted, message)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compressed_messages_are_read() {
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(b"hello").unwrap();
        let deflate = deflate.finish().unwrap();
        assert_eq!(Encoding::Deflate.decompressed(&deflate, 5).unwrap(), b"hello");
        assert_eq!(Encoding::Gzip.decompressed(&gzip(b"hello"), 5).unwrap(), b"hello");
        assert_eq!(Encoding::of(Some(b"gzip")), Ok(Encoding::Gzip));
        assert_eq!(Encoding::of(Some(b"br")).unwrap_err().code, GrpcCode::Unimplemented);
    }

    #[test]
    fn decompression_stops_at_the_limit() {
        let small = gzip(&vec![0; 64 << 20]);
        assert!(small.len() < 100_000);
        let refused = Encoding::Gzip.decompressed(&small, 1 << 20).unwrap_err();
        assert_eq!(refused.code, GrpcCode::ResourceExhausted);
        let cut = Encoding::Gzip.decompressed(&gzip(b"hello")[..12], 100).unwrap_err();
        assert_eq!(cut.code, GrpcCode::InvalidArgument);
        let none = Encoding::Identity.decompressed(b"hello", 100).unwrap_err();
        assert_eq!(none.code, GrpcCode::Internal);
    }
}
