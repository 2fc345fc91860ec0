//! The reasons why a connection is closed.

use crate::zmtp::wire::socket::SocketType;

/// A violation of the protocol by the peer. The connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// The first bytes are not those of ZMTP.
    #[error("the peer does not speak ZMTP")]
    Signature,
    /// A version before 3.
    #[error("the peer speaks ZMTP {0}, supported is 3")]
    Version(u8),
    /// Another security mechanism than NULL.
    #[error("the peer wants another security mechanism than NULL")]
    Mechanism,
    /// Reserved flags, or a command of several frames.
    #[error("a frame has the flags {0:#04x}, which are not defined")]
    Flags(u8),
    /// Larger than its bound.
    #[error("a frame has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Announced bytes of the frame, or of all frames of its message.
        size: u64,
        /// The bound, bytes.
        limit: usize,
    },
    /// A message of too many frames.
    #[error("a message has more than {limit} frames")]
    TooManyFrames {
        /// The bound.
        limit: usize,
    },
    /// A command that does not parse.
    #[error("a command does not parse: {0}")]
    Command(&'static str),
    /// Traffic before READY.
    #[error("the peer sends before it is ready")]
    NotReady,
    /// A socket type that cannot talk to ours.
    #[error("a socket of type {peer} cannot talk to {ours}")]
    SocketType {
        /// Our type.
        ours: SocketType,
        /// The peer's type, as it was sent.
        peer: String,
    },
    /// The peer reports an error.
    #[error("the peer refuses the connection")]
    Refused,
    /// More distinct subscriptions than one connection may have.
    #[error("more than {limit} subscriptions")]
    TooManyFilters {
        /// The bound.
        limit: usize,
    },
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
