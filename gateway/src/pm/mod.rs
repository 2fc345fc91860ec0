//! The protocol `pm`: length-prefixed JSON-RPC 2.0 over TCP, as Pipeline Manager and its
//! applications speak it.

pub mod errors;
pub mod wire;
