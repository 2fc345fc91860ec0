//! Heartbeats of the device: every five seconds while a worker serves the door's queue.

use std::time::Duration;

use redcall_client::{Kind, WorkerInfo};
use redcall_common::time::now_ms;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Publisher;
use crate::zmtp::event;

const PERIOD: Duration = Duration::from_secs(5);

/// Publishes heartbeats; never ends.
pub(super) async fn run(publisher: &Publisher<'_>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(worker) = live_worker(publisher).await else { continue };
        let identifier = publisher.settings.identifier.as_deref().unwrap_or(&worker.name);
        let beat = event::heartbeat(identifier, publisher.version(), now_ms());
        publisher.send(Kind::HEARTBEAT.0, beat);
    }
}

/// Returns a live worker of the door's queue. Without an answer of Redis, there is none.
async fn live_worker(publisher: &Publisher<'_>) -> Option<WorkerInfo> {
    let queue = publisher.door.settings().inward.queue.as_deref()?;
    let inspector = publisher.door.client().inspect();
    let workers = timeout(PERIOD, inspector.workers()).await.ok()?;
    let workers = workers
        .inspect_err(|error| {
            tracing::warn!(gateway = publisher.door.name(), %error, "no heartbeat");
        })
        .ok()?;
    workers.into_iter().find(|worker| worker.queues.iter().any(|it| it == queue))
}
