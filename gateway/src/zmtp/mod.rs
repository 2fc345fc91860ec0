//! Protocol `zmtp`: devices and consoles of the Autotrainer API, over ZeroMQ.
//!
//! | place | holds |
//! |---|---|
//! | `wire/` | ZMTP 3 with the mechanism NULL: greeting, commands, frames, subscriptions |
//! | `link.rs` | one connection after its handshake |
//! | `command.rs`, `reply.rs`, `event.rs` | the JSON of commands, of their answers, of events |
//! | `json.rs` | raw members, numbers, texts |
//! | `names.rs` | numbers of commands and names of jobs |
//! | `errors.rs` | codes as results |
//! | `pairs.rs` | the two messages of an emergency |
//! | `rep.rs` | we are the device: commands of consoles |
//! | `publisher/` | we are the device: events, emergencies, heartbeats, results |
//! | `device/` | we are the console: commands to devices, their events |

use std::io;
use std::sync::Arc;

use futures_util::future::join_all;
use redcall_common::settings::ProtocolSettings;

use self::names::Names;
use self::wire::Violation;
use crate::door::{Door, Listeners};
use crate::error::DoorError;

mod command;
mod device;
mod errors;
mod event;
#[doc(hidden)]
pub mod fuzzing;
mod json;
mod link;
mod names;
mod pairs;
mod publisher;
mod rep;
mod reply;
pub mod wire;

/// Serves the door until it drains.
pub(crate) async fn serve(door: Arc<Door>, mut listeners: Listeners) -> Result<(), DoorError> {
    let ProtocolSettings::Zmtp(settings) = &door.settings().protocol else { return Ok(()) };
    let names = Arc::new(Names::new(&settings.commands, settings.others.as_deref()));
    let (commands, events) = (listeners.take("listen_commands"), listeners.take("listen_events"));
    let answering = join_all(commands.into_iter().map(|listener| {
        let (own, names) = (door.clone(), names.clone());
        let serve = move |connection| rep::serve(own.clone(), names.clone(), connection);
        listener.serve(door.clone(), serve)
    }));
    let publishing = publisher::serve(door.clone(), names.clone(), settings, events);
    let relaying = device::relay(&door, settings);
    let serving = async {
        tokio::join!(answering, publishing, relaying);
        Ok(())
    };
    let running = device::run_jobs(&door, names.clone(), settings);
    tokio::try_join!(serving, running).map(drop)
}

/// Logs and counts the end of a connection. A peer that has gone is not counted.
fn note(door: &Door, peer: &str, violation: &Violation) {
    if let Violation::Io(error) = violation {
        if error.kind() == io::ErrorKind::TimedOut {
            door.metrics().refused("stalled");
        }
        tracing::debug!(gateway = door.name(), peer, %error, "a connection has ended");
        return;
    }
    door.metrics().refused("protocol");
    tracing::info!(gateway = door.name(), peer, error = %violation, "closed a connection");
}
