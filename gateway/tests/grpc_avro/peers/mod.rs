//! The clients of the tests.
//!
//! | file | holds |
//! |---|---|
//! | `client.rs`, `client.py` | real `grpcio` |
//! | `http2.rs` | frames, and hostile ones |
//! | `raw.rs` | HTTP/2 without the rules of a gRPC client |
//! | `python.rs` | the Python interpreter |

pub(crate) mod client;
pub(crate) mod http2;
pub(crate) mod python;
pub(crate) mod raw;
