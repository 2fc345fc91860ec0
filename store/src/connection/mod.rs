//! Connections to Redis: opening, watching, reconnecting.
//!
//! | file | holds |
//! |---|---|
//! | `connector.rs` | opening connections |
//! | `clock.rs` | the offset of Redis's clock |
//! | `sentinel.rs` | which server is the primary |
//! | `link.rs` | a connection that reconnects |
//! | `blocking.rs` | a connection for blocking commands |
//! | `direct/` | a connection without the driver's task |

mod blocking;
mod clock;
mod connector;
mod direct;
mod link;
mod sentinel;

pub use blocking::Unblocker;
pub(crate) use blocking::{Blocking, GRACE, Use};
pub(crate) use connector::Peer;
pub use connector::{Connector, refused_certificate, set_crypto_provider};
pub(crate) use direct::{Direct, Element};
pub use link::{Connection, ConnectionId, PushHandler};
