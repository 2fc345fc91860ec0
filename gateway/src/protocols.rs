//! The one place that knows all protocols: their addresses and their functions.

use std::net::SocketAddr;
use std::sync::Arc;

use redcall_common::settings::{PmRole, ProtocolSettings};

use crate::door::{Door, Listeners};
use crate::error::DoorError;
use crate::{bgpy, grpc_avro, pm, rq, zmtp};

/// Serves a door until it drains.
pub(crate) async fn serve(door: Arc<Door>, listeners: Listeners) -> Result<(), DoorError> {
    match &door.settings().protocol {
        ProtocolSettings::Rq(_) => rq::serve(door, listeners).await,
        ProtocolSettings::Pm(_) => pm::serve(door, listeners).await,
        ProtocolSettings::GrpcAvro(_) => grpc_avro::serve(door, listeners).await,
        ProtocolSettings::Zmtp(_) => zmtp::serve(door, listeners).await,
        ProtocolSettings::Bgpy(_) => bgpy::serve(door, listeners).await,
    }
}

/// Returns the addresses on which a protocol listens, each with its key in the settings.
pub(crate) fn addresses(protocol: &ProtocolSettings) -> Vec<(&'static str, SocketAddr)> {
    match protocol {
        ProtocolSettings::Rq(_) => Vec::new(),
        ProtocolSettings::Pm(settings) => match settings.role {
            PmRole::Listen(address) => vec![("listen", address)],
            PmRole::Connect(_) => Vec::new(),
        },
        ProtocolSettings::GrpcAvro(settings) => {
            let registry = settings.registry.map(|address| ("registry", address));
            [("listen", settings.listen)].into_iter().chain(registry).collect()
        }
        ProtocolSettings::Zmtp(settings) => {
            let commands = settings.listen_commands.iter().map(|at| ("listen_commands", *at));
            let events = settings.listen_events.iter().map(|at| ("listen_events", *at));
            commands.chain(events).collect()
        }
        ProtocolSettings::Bgpy(settings) => vec![("listen", settings.listen)],
    }
}
