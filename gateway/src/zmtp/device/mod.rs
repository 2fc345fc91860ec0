//! Devices to which the door connects.
//!
//! | file | holds |
//! |---|---|
//! | `req.rs` | commands to devices: the jobs of `serves` |
//! | `sub.rs` | events of devices, published as Redcall's |

mod req;
mod sub;

use std::sync::Arc;

use futures_util::future::join_all;
use redcall_common::settings::ZmtpSettings;

use self::req::Devices;
use super::names::Names;
use crate::door::Door;
use crate::error::DoorError;

/// Runs the jobs of `serves` on the devices of `connect_commands`, until the door drains.
pub(super) async fn run_jobs(
    door: &Arc<Door>,
    names: Arc<Names>,
    settings: &ZmtpSettings,
) -> Result<(), DoorError> {
    if settings.connect_commands.is_empty() {
        return Ok(());
    }
    let largest = door.settings().message;
    let devices = Devices::new(names, &settings.connect_commands, largest);
    door.run_jobs(Arc::new(devices), std::future::pending()).await
}

/// Publishes the events of the devices of `connect_events`, until the door drains.
pub(super) async fn relay(door: &Door, settings: &ZmtpSettings) {
    let relaying = settings.connect_events.iter().map(|target| sub::relay(door, target));
    join_all(relaying).await;
}
