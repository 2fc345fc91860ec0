//! The clients of the tests.
//!
//! | file | holds |
//! |---|---|
//! | `client.rs`, `client.py` | real `grpcio` |
//! | `raw.rs` | HTTP/2 without the rules of a gRPC client |
//! | `python.rs` | the Python interpreter |

pub(crate) mod client;
pub(crate) mod python;
pub(crate) mod raw;
