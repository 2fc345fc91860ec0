//! Looking how many bytes of answers the worker's queues keep, so that nobody new is promised an
//! answer where they are at their bound (`tally.lua`).

use std::sync::Arc;
use std::time::Duration;

use redcall_common::settings::Settings;
use redcall_common::store::Link;
use redcall_common::store::keys::{Keys, QueueKeys};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::WITHIN;

/// How often. What is answered in between is over the bound, at worst.
const EVERY: Duration = Duration::from_secs(1);

/// Looks now and then, until what is returned is dropped.
pub(super) fn spawn(settings: &Settings, link: &Arc<Link>) -> JoinSet<()> {
    let mut task = JoinSet::new();
    let keys = Keys::new(&settings.redis.prefix);
    let bounded = settings.served_queues().into_iter().filter_map(|queue| {
        let most = settings.answers_max_bytes(&queue);
        (most > 0).then(|| (keys.of(&queue), most))
    });
    let queues: Vec<(QueueKeys, u64)> = bounded.collect();
    if queues.is_empty() {
        return task;
    }
    let link = link.clone();
    task.spawn(async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut full = vec![false; queues.len()];
        loop {
            ticks.tick().await;
            match link.tally(&queues, WITHIN).await {
                Ok(tallies) => {
                    for ((tally, full), (keys, most)) in tallies.iter().zip(&mut full).zip(&queues)
                    {
                        match tally {
                            Ok(Some(tally)) if tally.full != *full => {
                                *full = tally.full;
                                say(keys.name(), tally.bytes, *most, tally.full);
                            }
                            Ok(_) => {}
                            Err(error) => tracing::debug!(%error, "answers were not added up"),
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "answers were not added up"),
            }
        }
    });
    task
}

fn say(queue: &str, bytes: u64, most: u64, full: bool) {
    match full {
        true => tracing::warn!(
            queue,
            bytes,
            most,
            "the answers kept are at their bound (answers_max_bytes): requests that want one are \
             refused until some are fetched or expire"
        ),
        false => tracing::info!(queue, bytes, most, "the answers kept are below their bound"),
    }
}
