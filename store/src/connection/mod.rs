//! Connections to Redis: opening, watching, reconnecting.
//!
//! | file | holds |
//! |---|---|
//! | `connector.rs` | opening connections |
//! | `certificates.rs` | certificates and keys |
//! | `clock.rs` | the offset of Redis's clock |
//! | `sentinel.rs` | which server is the primary |
//! | `link.rs` | a connection that reconnects |
//! | `blocking.rs` | a connection for blocking commands |
//! | `direct/` | a connection without the driver's task |

mod blocking;
mod certificates;
mod clock;
mod connector;
mod direct;
mod link;
mod sentinel;

pub use blocking::Unblocker;
pub(crate) use blocking::{Blocking, GRACE, Use};
pub use certificates::set_crypto_provider;
pub(crate) use connector::Peer;
pub use connector::{Connector, refused_certificate};
pub(crate) use direct::{Direct, Element};
pub use link::{Connection, ConnectionId, PushHandler};
