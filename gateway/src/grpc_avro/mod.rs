//! Protocol `grpc-avro`: gRPC whose messages are Avro datums.

use std::sync::Arc;

use crate::door::{Door, Listeners};
use crate::error::DoorError;

/// Serves the door until it drains.
pub(crate) async fn serve(door: Arc<Door>, listeners: Listeners) -> Result<(), DoorError> {
    tracing::error!(gateway = door.name(), "this protocol is not built yet");
    door.draining().await;
    drop(listeners);
    Ok(())
}
