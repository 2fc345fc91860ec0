//! Calls: building, sending, following and cancelling requests.
//!
//! | file | holds |
//! |---|---|
//! | `request.rs` | the builder of a request |
//! | `options.rs` | its rarer options |
//! | `send.rs` | sending one request |
//! | `batch.rs` | sending many requests at once |
//! | `alike.rs` | those of them that differ only in their data |
//! | `stream.rs` | the frames of a request |
//! | `follow.rs` | following requests of other clients |
//! | `ticket.rs` | fetching an answer later |
//! | `cancel.rs` | cancellation by id |

mod alike;
mod batch;
mod cancel;
mod follow;
mod options;
pub(crate) mod request;
mod send;
pub(crate) mod stream;
pub(crate) mod ticket;
