//! The reading of answers: announcements as they come, and response keys when one was missed.
//!
//! The key is the truth, the announcement only makes it fast. Keys are read after a reconnect,
//! when an announcement carried only an id, and for whoever has heard nothing for a while.

use std::pin::Pin;
use std::sync::Weak;
use std::time::Duration;

use redcall_common::frame::Frame;
use redcall_common::store::{Link, StoreError};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::pending::Pending;

const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// How many keys are read in one round trip.
const PORTION: usize = 500;
const WITHIN: Duration = Duration::from_secs(5);

/// Passes one announcement on. Runs inside the connection's own task: must not block.
pub(crate) fn announced(payload: &[u8], pending: &Pending, reread: &mpsc::UnboundedSender<String>) {
    let Ok(entries) = serde_json::from_slice::<Vec<&RawValue>>(payload) else {
        tracing::warn!("an announcement is not a JSON array; response keys are read instead");
        return;
    };
    let mut by_id = Vec::new();
    let frames = entries.into_iter().filter_map(|entry| {
        // An entry is a frame, or the id of a request whose frame was too large to announce.
        match serde_json::from_str::<Frame>(entry.get()) {
            Ok(frame) => Some(frame),
            Err(_) => {
                by_id.extend(serde_json::from_str::<String>(entry.get()));
                None
            }
        }
    });
    let missed = pending.deliver(frames);
    for id in by_id.into_iter().chain(missed) {
        // The reader ends with the client, and so does the wait.
        let _ = reread.send(id);
    }
}

/// Reads response keys for whoever missed something. Ends with the client.
pub(crate) async fn read_keys(
    link: Weak<Link>,
    pending: Pending,
    mut wanted: mpsc::UnboundedReceiver<String>,
) {
    let mut sweep = interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let Some(mut reconnected) = reconnection(&link) else { return };
    let mut ids = Vec::new();
    loop {
        let due = tokio::select! {
            count = wanted.recv_many(&mut ids, PORTION) => {
                if count == 0 {
                    return;
                }
                let of = pending.of(&ids);
                ids.clear();
                of
            }
            () = &mut reconnected => {
                let Some(next) = reconnection(&link) else { return };
                reconnected = next;
                pending.due(true)
            }
            _ = sweep.tick() => pending.due(false),
        };
        // Held only here: the link must end with the last client, not with this task.
        let Some(link) = link.upgrade() else { return };
        for portion in due.chunks(PORTION) {
            if let Err(error) = read(&link, &pending, portion).await {
                tracing::debug!(%error, "response keys could not be read; they are read again");
            }
        }
    }
}

fn reconnection(link: &Weak<Link>) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
    Some(Box::pin(link.upgrade()?.reconnected()))
}

async fn read(
    link: &Link,
    pending: &Pending,
    portion: &[(String, String, bool)],
) -> Result<(), StoreError> {
    let (streams, endings): (Vec<_>, Vec<_>) = portion.iter().partition(|(_, _, all)| *all);
    let keys: Vec<String> = endings.iter().map(|(_, key, _)| key.clone()).collect();
    if !keys.is_empty() {
        let last = link.last_frames(&keys, WITHIN).await?;
        pending.deliver(last.into_iter().flatten().filter_map(|raw| parse(&raw)));
    }
    for (_, key, _) in streams {
        let frames = link.frames(key, WITHIN).await?;
        pending.deliver(frames.iter().filter_map(|raw| parse(raw)));
    }
    Ok(())
}

/// Reads a frame; what is none was not written by a worker and is passed over.
pub(crate) fn parse(raw: &[u8]) -> Option<Frame> {
    serde_json::from_slice(raw).ok()
}
