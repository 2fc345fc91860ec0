//! The codec: bytes to messages and back. Pure.
//!
//! | file | holds |
//! |---|---|
//! | `framing.rs` | frames: a length and base64 |
//! | `message.rs` | messages: pickled objects with a type and arguments |

pub mod framing;
pub mod message;
