//! The role of an application: dials Pipeline Manager without end. It takes one application, and
//! listens only while its browser wants one, so that a refused connection is normal.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::backoff::{Backoff, jittered};
use redcall_common::settings::PmSettings;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::link::{self, Role};
use crate::door::{Door, Stream};

/// Pauses after connections that failed. A standby gateway connects within the longest one.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(300), Duration::from_secs(5));
/// The pause after a connection that was closed at once: another application is connected.
const TAKEN: Duration = Duration::from_secs(1);
/// Time limit of one attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Dials `target` until the door drains, and serves each link.
pub(super) async fn serve(door: Arc<Door>, target: &str, settings: PmSettings) {
    let mut pause = PAUSES.first();
    // The rest of ended links: the next link need not wait for it.
    let mut settling = JoinSet::new();
    while !door.is_draining() {
        let wait = match dial(&door, target).await {
            None => {
                let wait = spread(pause);
                pause = PAUSES.following(pause);
                wait
            }
            Some(stream) => {
                let open = door.metrics().connected();
                let role = (Role::Application, &settings);
                let ended = door.guarded(link::run(&door, (stream, target), role)).await;
                drop(open);
                pause = PAUSES.first();
                let gateway = door.name();
                match ended {
                    Some(ended) if ended.was_taken => {
                        tracing::debug!(gateway, target, "another application is connected");
                        settling.spawn(ended.rest);
                        TAKEN
                    }
                    Some(ended) => {
                        tracing::info!(gateway, target, why = %ended.why, "a link has ended");
                        settling.spawn(ended.rest);
                        spread(pause)
                    }
                    // It panicked.
                    None => spread(pause),
                }
            }
        };
        tokio::select! {
            () = door.draining() => break,
            () = sleep(wait) => {}
        }
        while settling.try_join_next().is_some() {}
    }
    while settling.join_next().await.is_some() {}
}

/// Connects once; `None` if that fails or the door drains.
async fn dial(door: &Door, target: &str) -> Option<Stream> {
    let connected = tokio::select! {
        () = door.draining() => return None,
        connected = timeout(CONNECT_TIMEOUT, Stream::connect(target)) => connected,
    };
    match connected {
        Ok(Ok(stream)) => {
            tracing::debug!(gateway = door.name(), target, "connected");
            Some(stream)
        }
        Ok(Err(error)) => {
            tracing::debug!(gateway = door.name(), target, %error, "cannot connect");
            None
        }
        Err(_) => {
            tracing::debug!(gateway = door.name(), target, "cannot connect in time");
            None
        }
    }
}

/// Draws a pause between half of `pause` and all of it: gateways that lost their peer together do
/// not dial together.
fn spread(pause: Duration) -> Duration {
    pause / 2 + jittered(pause / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_within_the_time_of_a_standby() {
        let mut pause = PAUSES.first();
        for _ in 0..20 {
            let drawn = spread(pause);
            assert!(pause / 2 <= drawn && drawn <= pause);
            pause = PAUSES.following(pause);
        }
        assert_eq!(pause, Duration::from_secs(5));
    }
}
