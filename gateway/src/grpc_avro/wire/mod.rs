//! gRPC over HTTP/2, as far as a server of unary requests with streamed responses needs it.
//!
//! | file | holds |
//! |---|---|
//! | `message.rs` | the frame of a message: reading the one request, writing responses |
//! | `encoding.rs` | compressed requests |
//! | `status.rs` | the end of a call: code and message, as headers |
//! | `timeout.rs` | the header `grpc-timeout` |

pub(crate) mod encoding;
pub(crate) mod message;
pub(crate) mod status;
pub(crate) mod timeout;
