//! Protocol `rq`: python-rpc on rq.

use std::sync::Arc;

use crate::door::{Door, Listeners};
use crate::error::DoorError;

/// Serves the door until it drains.
pub(crate) async fn serve(door: Arc<Door>, listeners: Listeners) -> Result<(), DoorError> {
    let _ = (door, listeners);
    Err(DoorError::Protocol("this protocol is not built yet".to_owned()))
}
