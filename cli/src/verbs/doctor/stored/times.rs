//! Timestamps in Redis further in the future than Redcall writes them: its clock was set back.

use redcall_client::{Inspector, Settings, StoreError};
use redcall_common::finding::{Finding, Level};
use redcall_common::time::millis;
use redcall_store::TimeAhead;

use crate::output::{line, time};
use crate::verbs::doctor::workers::listed;

const CHECK: &str = "times";

/// Checks these queues.
pub(crate) async fn check(
    inspector: &Inspector,
    queues: &[String],
    settings: &Settings,
) -> Result<Finding, StoreError> {
    let mut found = Vec::new();
    for queue in queues {
        for ahead in inspector.times_ahead(queue, settings.worker.lease).await? {
            found.push(text(&ahead, queue));
        }
    }
    if found.is_empty() {
        return Ok(Finding::ok(CHECK, "no timestamp is too far in the future"));
    }
    let what = format!("timestamps too far in the future: {}", listed(&found));
    let means = "Redis's clock was ahead when they were written, and was then set back. Until a \
                 worker corrects them, dead workers count as alive and schedules do not run.";
    let cure = "A worker that serves the queue corrects them at its next heartbeat: start one. \
                Keep Redis's clock synchronised by NTP, without steps.";
    Ok(Finding::new(CHECK, Level::Warning, what, means, cure))
}

fn text(TimeAhead { key, member, ahead }: &TimeAhead, queue: &str) -> String {
    format!("{} in {key} of {} by {}", line(member, 64), line(queue, 40), time(millis(*ahead)))
}
