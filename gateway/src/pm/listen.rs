//! The role of Pipeline Manager: one application at a time connects to the door. While its link
//! lives, further connections are closed at once, as Pipeline Manager does.

use std::sync::Arc;

use redcall_common::settings::PmSettings;
use tokio::sync::Semaphore;

use super::link::{self, Role};
use crate::door::{Connection, Door, Listeners};

/// Serves applications until the door drains.
pub(super) async fn serve(door: Arc<Door>, mut listeners: Listeners, settings: PmSettings) {
    let (place, settings) = (Arc::new(Semaphore::new(1)), Arc::new(settings));
    for listener in listeners.take("listen") {
        let (door, place, settings) = (door.clone(), place.clone(), settings.clone());
        let serving = door.clone();
        let serve = move |connection: Connection| {
            let (door, place, settings) = (serving.clone(), place.clone(), settings.clone());
            async move {
                let Connection { stream, peer, open } = connection;
                let Ok(place) = place.try_acquire() else {
                    return door.refuse(&peer, "taken");
                };
                tracing::info!(gateway = door.name(), peer, "an application has connected");
                let role = Role::Server;
                let ended = link::run(&door, (stream, &peer), (role, &settings)).await;
                // The next application need not wait for the last settling.
                drop((open, place));
                tracing::info!(gateway = door.name(), peer, why = %ended.why, "a link has ended");
                ended.rest.await;
            }
        };
        listener.serve(door, serve).await;
    }
}
