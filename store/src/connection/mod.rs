//! Connections to Redis: opening, watching, reconnecting.
//!
//! | file | holds |
//! |---|---|
//! | `connector.rs` | opening connections |
//! | `clock.rs` | the offset of Redis's clock |
//! | `sentinel.rs` | which server is the primary |
//! | `link.rs` | a connection that reconnects |
//! | `blocking.rs` | a connection for blocking commands |

mod blocking;
mod clock;
mod connector;
mod link;
mod sentinel;

pub use blocking::Unblocker;
pub(crate) use blocking::{Blocking, Use};
pub(crate) use connector::Peer;
pub use connector::{Connector, refused_certificate, set_crypto_provider};
pub use link::{Connection, ConnectionId, PushHandler};
