//! Bytes of a link to messages, and messages to bytes. Without I/O.

mod frames;
mod read;
mod session;
mod write;

#[cfg(test)]
mod tests;

pub use frames::{FrameError, Frames};
pub use read::{Answer, Call, Id, Incoming, PeerError, Refusal, ends_with_version, read};
pub use write::Writer;
