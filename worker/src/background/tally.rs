//! Adds up the answers kept on the worker's queues, and marks queues at their limit, so that new
//! requests that want an answer are refused (`tally.lua`).

use std::sync::Arc;
use std::time::Duration;

use redcall_common::keys::{Keys, QueueKeys};
use redcall_common::settings::Settings;
use redcall_store::{Connection, UpkeepOps as _};

use super::Background;
use crate::time::{REDIS_TIMEOUT, every};

/// Interval: answers of that time may exceed the limit.
const EVERY: Duration = Duration::from_secs(1);

/// Adds them up at once, and then every second.
pub(crate) fn spawn(settings: &Settings, link: &Arc<Connection>) -> Background {
    let keys = Keys::new(&settings.redis.prefix);
    // Also without a limit: `redcall doctor` shows the sum.
    let queues = settings.served_queues().into_iter();
    let queues = queues.map(|queue| (keys.of(&queue), settings.answers_max_bytes(&queue)));
    let queues: Vec<(QueueKeys, u64)> = queues.collect();
    let link = link.clone();
    Background::spawn("tally", async move {
        let mut ticks = every(EVERY);
        let mut full = vec![false; queues.len()];
        loop {
            ticks.tick().await;
            match link.tally(&queues, REDIS_TIMEOUT).await {
                Ok(tallies) => {
                    for ((tally, full), (keys, limit)) in tallies.iter().zip(&mut full).zip(&queues)
                    {
                        match tally {
                            Ok(Some(tally)) if tally.full != *full => {
                                *full = tally.full;
                                log_limit(keys.name(), tally.bytes, *limit, tally.full);
                            }
                            Ok(_) => {}
                            Err(error) => tracing::debug!(%error, "cannot add up answers"),
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "cannot add up answers"),
            }
        }
    })
}

fn log_limit(queue: &str, bytes: u64, limit: u64, full: bool) {
    match full {
        true => tracing::warn!(
            queue,
            bytes,
            limit,
            "the answers kept are at their limit (answers_max_bytes): requests that want one are \
             refused until some are fetched or expire"
        ),
        false => {
            tracing::info!(queue, bytes, limit, "the answers kept are below their limit again")
        }
    }
}
