//! Live workers: whether waiting queues are served, and whether versions and job names match.

use std::collections::BTreeSet;

use redcall_client::{QueueInfo, Settings, WorkerInfo};
use redcall_common::finding::{Finding, Level};

use crate::output::{line, time};

const CHECK: &str = "workers";
/// Maximum number of examples listed.
const EXAMPLES: usize = 5;

/// Checks the live workers.
pub(super) fn check(
    workers: &[WorkerInfo],
    queues: &[QueueInfo],
    settings: &Settings,
) -> Vec<Finding> {
    let mut findings = vec![present(workers)];
    findings.extend(queues.iter().filter_map(unserved));
    if !workers.is_empty() {
        findings.extend([versions(workers), unmapped(workers, settings), overdue(workers)]);
    }
    findings
}

fn present(workers: &[WorkerInfo]) -> Finding {
    if workers.is_empty() {
        let means = "No job runs; a waited call ends with `no_workers`.";
        let cure = "Start `redcall-worker` with the same `redis.url` and `redis.prefix`.";
        return Finding::new(CHECK, Level::Warning, "no worker is alive", means, cure);
    }
    let running: usize = workers.iter().map(|worker| worker.running).sum();
    let max: usize = workers.iter().map(|worker| worker.concurrency).sum();
    Finding::ok(CHECK, format!("{} alive, {running} of at most {max} jobs running", workers.len()))
}

/// Reports a queue with jobs and no worker.
fn unserved(queue: &QueueInfo) -> Option<Finding> {
    let work = queue.length + queue.running + queue.parked_requests + queue.limited;
    if work + queue.scheduled == 0 || queue.workers > 0 {
        return None;
    }
    let name = &queue.queue;
    let what = format!(
        "no worker serves {name}, where {} wait, {} are held and {} are scheduled",
        queue.length + queue.parked_requests + queue.limited,
        queue.running,
        queue.scheduled
    );
    let cure = format!("Start a worker with `{name}` in its `worker.queues`.");
    Some(Finding::new(
        CHECK,
        Level::Problem,
        what,
        "They are not run until a worker serves the queue.",
        cure,
    ))
}

fn versions(workers: &[WorkerInfo]) -> Finding {
    const CHECK: &str = "versions";
    let found: BTreeSet<&str> = workers.iter().map(|worker| worker.version.as_str()).collect();
    let found: Vec<String> = found.into_iter().map(|version| line(version, 40)).collect();
    if let [one] = found.as_slice() {
        return Finding::ok(CHECK, format!("all workers are of version {one}"));
    }
    let what = format!("workers of different versions: {}", listed(&found));
    let means = "Normal during a deployment; otherwise some workers were not restarted.";
    let cure = "Find the old workers with `redcall workers --json` and restart them.";
    Finding::new(CHECK, Level::Warning, what, means, cure)
}

/// Reports jobs of these settings that no worker handles.
fn unmapped(workers: &[WorkerInfo], settings: &Settings) -> Finding {
    const CHECK: &str = "names";
    let mapped: BTreeSet<&String> = workers.iter().flat_map(|worker| &worker.jobs).collect();
    let missing = settings.jobs.keys().filter(|name| !mapped.contains(name));
    let missing: Vec<String> = missing.cloned().collect();
    if missing.is_empty() {
        return Finding::ok(CHECK, "live workers map every job of these settings");
    }
    let what = format!("no live worker handles {}", listed(&missing));
    let means = "Calls of these jobs end with `unknown_job`.";
    let cure = "Have the workers reload the settings (SIGHUP), or restart them with this file.";
    Finding::new(CHECK, Level::Warning, what, means, cure)
}

/// Reports jobs that occupy capacity although their timeout is over.
fn overdue(workers: &[WorkerInfo]) -> Finding {
    const CHECK: &str = "overdue";
    let overdue = workers.iter().flat_map(|worker| {
        worker.overdue.iter().map(|job| {
            let name = line(&job.name, 40);
            format!("{name} for {} on {}", time(job.running_ms), line(&worker.name, 40))
        })
    });
    let overdue: Vec<String> = overdue.collect();
    if overdue.is_empty() {
        return Finding::ok(CHECK, "no job exceeds its timeout");
    }
    let what = format!("jobs that exceed their timeout: {}", listed(&overdue));
    let means = "Their callers got `timeout`, and each still occupies a worker's capacity.";
    let cure = "Have their handlers check `cancelled`, or restart those workers.";
    Finding::new(CHECK, Level::Warning, what, means, cure)
}

/// Lists the first names, and the number of the others.
pub(super) fn listed(all: &[String]) -> String {
    let mut text = all.iter().take(EXAMPLES).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > EXAMPLES {
        text.push_str(&format!(" and {} more", all.len() - EXAMPLES));
    }
    text
}
