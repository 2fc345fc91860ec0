//! Schedules: whether a worker handles their jobs.

use redcall_client::{Inspector, Settings, StoreError};
use redcall_common::finding::{Finding, Level};

const CHECK: &str = "schedules";

/// Checks the schedules of these settings.
pub(super) async fn check(
    inspector: &Inspector,
    settings: &Settings,
) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    for (name, schedule) in &settings.schedules {
        let (job, queue) = (&schedule.job, settings.queue_of(schedule));
        let is_ours = settings.jobs.contains_key(job) || settings.services.contains_key(job);
        let live = inspector.mapped_names(&queue).await?;
        if live.contains(job) {
            continue;
        }
        let what = format!("{name}: no live worker of {queue} maps `{job}`");
        // Without any worker of that queue, a later one may have the job compiled in.
        let level = if is_ours || live.is_empty() { Level::Warning } else { Level::Problem };
        let means = match live.is_empty() {
            true => "Each tick enqueues a job that waits.",
            false => "The job of each tick is dead-lettered.",
        };
        let cure = match is_ours {
            true => format!("Start a worker with these settings that serves `{queue}`."),
            false => format!(
                "Correct `schedules.{name}.job`, or map `{job}` in the settings of a worker that \
                                 serves `{queue}`."
            ),
        };
        findings.push(Finding::new(CHECK, level, what, means, cure));
    }
    if findings.is_empty() {
        let what = match settings.schedules.len() {
            0 => "no schedules in these settings".to_owned(),
            count => format!("live workers map the jobs of all {count}"),
        };
        findings.push(Finding::ok(CHECK, what));
    }
    Ok(findings)
}
