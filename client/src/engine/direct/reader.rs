//! The task that opens the connection for pushes and reads the replies.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use redcall_common::backoff::Backoff;
use redcall_store::{Connector, DirectOpener, DirectPush, Doubt, StoreError};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::shared::DirectShared;

/// Pauses before a connection is opened again.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// The period in which late replies are noticed, and response keys deleted without a push.
const TICK: Duration = Duration::from_millis(250);

/// See the module.
pub(super) struct PushReader {
    shared: Arc<DirectShared>,
    opener: DirectOpener,
}

impl Drop for PushReader {
    /// The runtime or the client was dropped: no reply would be read.
    fn drop(&mut self) {
        self.shared.close(&DirectPush::given_up());
    }
}

impl PushReader {
    pub(super) fn new(shared: Arc<DirectShared>, connector: Connector) -> Self {
        Self { shared, opener: DirectOpener::new(connector) }
    }

    pub(super) async fn run(mut self) {
        let mut pause = PAUSES.first();
        loop {
            self.shared.wanted.notified().await;
            match self.opener.open().await {
                Ok(conn) => {
                    self.shared.install(conn);
                    let error = self.serve().await;
                    tracing::debug!(%error, "lost the connection for pushes");
                    self.shared.close(&error);
                    pause = PAUSES.first();
                }
                // The requests go to the sender meanwhile.
                Err(error) => {
                    tracing::debug!(%error, "cannot open the connection for pushes yet");
                    pause = PAUSES.following(pause);
                }
            }
            sleep(pause).await;
        }
    }

    /// Handles replies until the connection has to be closed; returns the reason.
    async fn serve(&mut self) -> StoreError {
        let shared = &*self.shared;
        let limit = self.opener.response_timeout();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut in_doubt = false;
        loop {
            tokio::select! {
                biased;
                error = poll_fn(|context| shared.poll_end(context)) => {
                    self.opener.note_loss();
                    return error;
                }
                doubt = self.opener.doubt(), if !in_doubt => match doubt {
                    Doubt::Moved => return DirectPush::given_up(),
                    Doubt::OtherLost if shared.stop() => in_doubt = true,
                    Doubt::OtherLost => return DirectPush::given_up(),
                },
                _ = tick.tick() => {
                    if shared.is_late(limit) {
                        self.opener.note_loss();
                        return DirectPush::given_up();
                    }
                    if in_doubt && !shared.stop() {
                        return DirectPush::given_up();
                    }
                    shared.write_waiting();
                }
            }
        }
    }
}
