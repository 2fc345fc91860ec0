//! Protocol `zmtp`: the Autotrainer API over ZeroMQ.

use std::sync::Arc;

use crate::door::{Door, Listeners};
use crate::error::DoorError;

pub mod wire;

/// Serves the door until it drains.
pub(crate) async fn serve(door: Arc<Door>, listeners: Listeners) -> Result<(), DoorError> {
    let _ = (door, listeners);
    Err(DoorError::Protocol("this protocol is not built yet".to_owned()))
}
