//! The frame of a message: one byte that states whether it is compressed, four bytes of its length.

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::grpc_avro::wire::encoding::{Encoding, too_large};
use crate::grpc_avro::wire::status::{GrpcCode, Status};

/// Bytes in front of a message.
const HEAD: usize = 5;

/// Bounds the reading of requests.
#[derive(Debug, Clone)]
pub(crate) struct ReadLimits {
    /// The largest message, bytes, compressed and not.
    pub(crate) message: usize,
    /// Bytes that all requests of the connection may hold while they are read.
    pub(crate) buffered: Arc<Semaphore>,
}

/// Reads the only message of a request, up to the end of its body.
///
/// # Errors
///
/// RESOURCE_EXHAUSTED for a message over a limit, as soon as its length is known; INVALID_ARGUMENT
/// for anything but one whole message; CANCELLED if the connection or the stream has ended.
pub(crate) async fn read_message<B>(
    mut body: B,
    encoding: Encoding,
    limits: &ReadLimits,
) -> Result<Vec<u8>, Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut held: Option<OwnedSemaphorePermit> = None;
    // Grows with the bytes that have arrived, not with the length that the head claims.
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let gone = |_| Status::new(GrpcCode::Cancelled, "the request was cancelled");
        let Ok(data) = frame.map_err(gone)?.into_data() else { continue };
        hold(&mut held, data.len(), limits)?;
        read.extend_from_slice(&data);
        if let Some(length) = length(&read)? {
            if length > limits.message {
                return Err(too_large(limits.message));
            }
            if read.len() > HEAD + length {
                return Err(malformed("the request has more than one message"));
            }
        }
    }
    match length(&read)? {
        Some(length) if read.len() == HEAD + length => {}
        _ => return Err(malformed("the request ends before its message does")),
    }
    match read[0] {
        0 => Ok(read.split_off(HEAD)),
        _ => encoding.decompressed(&read[HEAD..], limits.message),
    }
}

/// Returns the length that the head claims; `None` while the head is not complete.
fn length(read: &[u8]) -> Result<Option<usize>, Status> {
    let Some((head, _)) = read.split_first_chunk::<HEAD>() else { return Ok(None) };
    let mut head = &head[..];
    if head.get_u8() > 1 {
        return Err(malformed("the first byte of the message is neither 0 nor 1"));
    }
    Ok(usize::try_from(head.get_u32()).ok())
}

fn hold(
    held: &mut Option<OwnedSemaphorePermit>,
    bytes: usize,
    limits: &ReadLimits,
) -> Result<(), Status> {
    let count = u32::try_from(bytes).unwrap_or(u32::MAX);
    let Ok(permit) = limits.buffered.clone().try_acquire_many_owned(count) else {
        let message = "the requests of this connection hold too many bytes; send fewer at once";
        return Err(Status::new(GrpcCode::ResourceExhausted, message));
    };
    match held {
        Some(held) => held.merge(permit),
        None => *held = Some(permit),
    }
    Ok(())
}

fn malformed(message: &str) -> Status {
    Status::new(GrpcCode::InvalidArgument, message)
}

/// Returns a message in its frame, not compressed.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + message.len());
    frame.put_u8(0);
    // Messages are far smaller than 4 GiB: `message` bounds them.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    fn limits() -> ReadLimits {
        ReadLimits { message: 100, buffered: Arc::new(Semaphore::new(150)) }
    }

    async fn read_of(pieces: &[&[u8]], limits: &ReadLimits) -> Result<Vec<u8>, Status> {
        let frames = pieces.iter().map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))));
        let frames: Vec<Result<_, std::convert::Infallible>> = frames.collect();
        read_message(StreamBody::new(stream::iter(frames)), Encoding::Identity, limits).await
    }

    #[tokio::test]
    async fn message_is_read_from_any_pieces() {
        let pieces: [&[u8]; 4] = [&[0, 0], &[0, 0, 3, b'a'], b"b", b"c"];
        assert_eq!(read_of(&pieces, &limits()).await.unwrap(), b"abc");
        let framed = framed(b"abc");
        assert_eq!(read_of(&[&framed], &limits()).await.unwrap(), b"abc");
        assert_eq!(read_of(&[&[0; 5]], &limits()).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn anything_but_one_whole_message_is_refused() {
        for (pieces, expected) in [
            (&[][..], GrpcCode::InvalidArgument),
            (&[&[0, 0][..]], GrpcCode::InvalidArgument),
            (&[&[0, 0, 0, 0, 2, 7]], GrpcCode::InvalidArgument),
            (&[&[0, 0, 0, 0, 1, 7, 0]], GrpcCode::InvalidArgument),
            (&[&[2, 0, 0, 0, 0]], GrpcCode::InvalidArgument),
            (&[&[1, 0, 0, 0, 0]], GrpcCode::Internal),
            (&[&[0, 0, 0, 0, 101]], GrpcCode::ResourceExhausted),
            (&[&[0, 0xff, 0xff, 0xff, 0xff]], GrpcCode::ResourceExhausted),
        ] {
            assert_eq!(read_of(pieces, &limits()).await.unwrap_err().code, expected, "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn requests_of_a_connection_share_a_bound() {
        let limits = limits();
        let other = limits.buffered.clone().try_acquire_many_owned(100).unwrap();
        let large = framed(&[7; 60]);
        let refused = read_of(&[&large], &limits).await.unwrap_err();
        assert_eq!(refused.code, GrpcCode::ResourceExhausted);
        drop(other);
        assert!(read_of(&[&large], &limits).await.is_ok());
        assert_eq!(limits.buffered.available_permits(), 150);
    }
}
