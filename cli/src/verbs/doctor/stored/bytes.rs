//! Dead letters and kept answers: their bytes against their limits.
//!
//! Topics are omitted: a topic at its limit is normal.

use redcall_client::{Inspector, QueueInfo, Settings, StoreError};
use redcall_common::finding::{Finding, Level};

use crate::verbs::doctor::workers::listed;

/// Percent of a limit at which a warning is due.
const NEAR: u64 = 90;

/// Checks every queue in use.
pub(crate) async fn check(
    inspector: &Inspector,
    queues: &[QueueInfo],
    settings: &Settings,
) -> Result<Finding, StoreError> {
    const CHECK: &str = "bytes";
    let (mut near, mut full) = (Vec::new(), false);
    for queue in queues {
        let name = &queue.queue;
        let kept = inspector.kept_bytes(name).await?;
        let max = settings.dead.max_bytes;
        if is_near(kept.dead, max) {
            near.push(format!("dead letters of {name} {}", of(kept.dead, max)));
        }
        let max = settings.answers_max_bytes(name);
        if kept.answers_full || is_near(kept.answers, max) {
            near.push(format!("answers of {name} {}", of(kept.answers, max)));
        }
        full |= kept.answers_full;
    }
    if near.is_empty() {
        return Ok(Finding::ok(CHECK, "dead letters and answers are far below their limits"));
    }
    let means = match full {
        true => "Requests with an answer are rejected as `overloaded` until answers are fetched.",
        false => {
            "At the limit, the oldest dead letters are trimmed and new requests with an answer \
                              are rejected."
        }
    };
    let cure = "Retry or purge dead letters, fetch answers or give them a shorter TTL, or raise \
                `dead.max_bytes` and `answers_max_bytes`.";
    Ok(Finding::new(CHECK, Level::Warning, listed(&near), means, cure))
}

fn is_near(held: u64, max: u64) -> bool {
    max > 0 && held.saturating_mul(100) >= max.saturating_mul(NEAR)
}

fn of(held: u64, max: u64) -> String {
    format!("have {} of {} MiB", held >> 20, max >> 20)
}
