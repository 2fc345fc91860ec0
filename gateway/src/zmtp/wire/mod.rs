//! ZMTP 3.x with the mechanism NULL, without I/O: bytes in, [`Incoming`] out.
//!
//! One [`Decoder`] reads one connection. Our side writes greeting and READY
//! ([`encode::opening`]) without waiting for the peer, since libzmq waits for the first bytes.
//! Every length is checked against its bound before a byte of the frame is stored, and the buffer
//! grows with the bytes that have arrived.

pub mod address;
pub mod command;
pub mod decoder;
pub mod encode;
pub mod filters;
pub mod frame;
pub mod greeting;
pub mod socket;
pub mod violation;

pub use decoder::{Decoder, Incoming};
pub use socket::SocketType;
pub use violation::Violation;

#[cfg(test)]
mod tests;
