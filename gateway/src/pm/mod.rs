//! Protocol `pm`: Pipeline Manager and its applications, length-prefixed JSON-RPC 2.0 over TCP.
//!
//! | place | holds |
//! |---|---|
//! | `wire/` | bytes to messages and back: frames, JSON-RPC, session envelopes. Without I/O |
//! | `errors.rs` | error codes in both directions |
//! | `link/` | one connection: calls of the peer, jobs for the peer, the writer |
//! | `connect.rs` | the role of an application, which dials Pipeline Manager |
//! | `listen.rs` | the role of Pipeline Manager, to which one application at a time connects |

mod connect;
mod errors;
mod link;
mod listen;
pub mod wire;

use std::sync::Arc;

use redcall_common::settings::{PmRole, ProtocolSettings};

use crate::door::{Door, Listeners};
use crate::error::DoorError;

/// Serves the door until it drains.
pub(crate) async fn serve(door: Arc<Door>, listeners: Listeners) -> Result<(), DoorError> {
    let ProtocolSettings::Pm(settings) = door.settings().protocol.clone() else {
        return Err(DoorError::Protocol("the door speaks another protocol".to_owned()));
    };
    match &settings.role {
        PmRole::Listen(_) => listen::serve(door, listeners, settings).await,
        PmRole::Connect(target) => connect::serve(door, target, settings.clone()).await,
    }
    Ok(())
}
