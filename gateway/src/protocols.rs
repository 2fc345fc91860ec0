//! The one place that knows all protocols: their addresses and their functions.

use std::net::SocketAddr;
use std::sync::Arc;

use redcall_common::settings::{PmRole, ProtocolSettings, Settings};

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

/// Checks the files and addresses that a protocol's settings name, without connecting.
///
/// # Errors
///
/// [`DoorError::File`] with the first file that cannot be used; [`DoorError::Store`] for an address
/// of rq's Redis.
pub(crate) fn check(protocol: &ProtocolSettings, settings: &Settings) -> Result<(), DoorError> {
    match protocol {
        ProtocolSettings::GrpcAvro(own) => grpc_avro::check(own, settings.limits.depth),
        ProtocolSettings::Rq(own) => Ok(rq::check(settings, own)?),
        ProtocolSettings::Pm(_) | ProtocolSettings::Zmtp(_) | ProtocolSettings::Bgpy(_) => Ok(()),
    }
}

/// Connects to the Redis that a protocol has next to Redcall's; returns its address, without the
/// password. `None` if there is none.
///
/// # Errors
///
/// [`DoorError::Store`].
pub(crate) async fn check_redis(
    protocol: &ProtocolSettings,
    settings: &Settings,
    name: &str,
) -> Result<Option<String>, DoorError> {
    match protocol {
        ProtocolSettings::Rq(own) => Ok(rq::check_redis(settings, own, name).await?),
        ProtocolSettings::Pm(_)
        | ProtocolSettings::GrpcAvro(_)
        | ProtocolSettings::Zmtp(_)
        | ProtocolSettings::Bgpy(_) => Ok(None),
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
