//! Protocol `bgpy`: clients of bgpy use a service of Redcall instead of bgpy's server.
//!
//! | file | holds |
//! |---|---|
//! | `wire/` | the codec: frames, and the messages in them |
//! | `reply.rs` | the arguments of our messages, and the texts of errors |
//! | `link.rs` | one connection: messages in, and out at the client's pace |
//! | `service.rs` | requests to the service |
//! | `dialogue.rs` | the dialogue of one connection |
//!
//! The state is the service's: it outlives workers, gateways and connections, and several gateways
//! may serve one instance.

mod dialogue;
mod link;
mod reply;
mod service;
pub mod wire;

use std::sync::Arc;

use futures_util::future::join_all;
use redcall_common::settings::ProtocolSettings;

use crate::door::{Door, Listeners};
use crate::error::DoorError;

/// Serves the door until it drains.
pub(crate) async fn serve(door: Arc<Door>, mut listeners: Listeners) -> Result<(), DoorError> {
    let ProtocolSettings::Bgpy(own) = &door.settings().protocol else {
        return Err(DoorError::Protocol("not settings of bgpy".to_owned()));
    };
    let shared = Arc::new(dialogue::Shared::new(own.clone()));
    let serving = listeners.take("listen").into_iter().map(|listener| {
        let (at, shared) = (door.clone(), shared.clone());
        listener.serve(door.clone(), move |connection| {
            dialogue::converse(at.clone(), shared.clone(), connection)
        })
    });
    join_all(serving).await;
    Ok(())
}
