//! Protocol `grpc-avro`: gRPC whose messages are Avro datums.
//!
//! Paths, schemas and fields come from the settings. HTTP/2 is hyper's; the few parts of gRPC that
//! a server of unary requests needs are in `wire/`. Stateless: a job that one gateway has begun can
//! be monitored through any other.
//!
//! | file | holds |
//! |---|---|
//! | `connection.rs`, `activity.rs` | one connection, its bounds, its idle time |
//! | `flow.rs` | the parts of responses that wait for the peer |
//! | `service.rs` | one call: init, monitor, call |
//! | `method.rs` | a method: its schemas and fields, and its frames |
//! | `states.rs` | the states of a job that become frames |
//! | `response.rs`, `errors.rs` | responses; errors as statuses |
//! | `registry.rs` | the schema registry over HTTP |
//! | `wire/` | gRPC: the frame of a message, statuses, timeouts, compression |
//! | `avro/` | the codec of datums |

mod activity;
pub mod avro;
mod connection;
mod errors;
mod flow;
mod method;
mod registry;
mod response;
mod service;
mod states;
mod wire;

use std::sync::Arc;

use futures_util::future::{join, join_all};
use redcall_common::settings::{GrpcAvroSettings, ProtocolSettings};

use crate::door::{Door, Listeners};
use crate::error::DoorError;

use self::method::Method;
use self::registry::Registry;
use self::service::Service;

/// Serves the door until it drains.
pub(crate) async fn serve(door: Arc<Door>, mut listeners: Listeners) -> Result<(), DoorError> {
    let ProtocolSettings::GrpcAvro(settings) = &door.settings().protocol else { return Ok(()) };
    let service = Arc::new(Service::new(door.clone(), settings)?);
    let registry = Arc::new(Registry::load(settings)?);
    let calls = listeners.take("listen").into_iter().map(|listener| {
        let service = service.clone();
        listener
            .serve(door.clone(), move |connection| connection::serve(connection, service.clone()))
    });
    let schemas = listeners.take("registry").into_iter().map(|listener| {
        let (of, registry) = (door.clone(), registry.clone());
        listener.serve(door.clone(), move |connection| {
            registry::serve(connection, of.clone(), registry.clone())
        })
    });
    join(join_all(calls), join_all(schemas)).await;
    Ok(())
}

/// Checks the schema files of a door; schemas nest at most `depth` levels.
///
/// # Errors
///
/// [`DoorError::File`] with the first file that cannot be used.
pub(crate) fn check(settings: &GrpcAvroSettings, depth: usize) -> Result<(), DoorError> {
    settings.methods.values().try_for_each(|method| Method::load(method, depth).map(drop))
}
