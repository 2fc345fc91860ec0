//! Who is there, whether somebody serves what waits, and whether they fit together.

use std::collections::BTreeSet;

use redcall_client::{QueueInfo, Settings, WorkerInfo};
use redcall_common::finding::{Finding, Level};

use crate::output::{line, time};

const CHECK: &str = "workers";
/// How many examples are listed.
const EXAMPLES: usize = 5;

/// Looks at the live workers.
pub(super) fn look(
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
        let means = "Nothing is run; a waited call ends with `no_workers`.";
        let cure = "Start `redcall-worker` with the same `redis.url` and `redis.prefix`.";
        return Finding::new(CHECK, Level::Warning, "no worker is alive", means, cure);
    }
    let running: usize = workers.iter().map(|worker| worker.running).sum();
    let slots: usize = workers.iter().map(|worker| worker.concurrency).sum();
    Finding::ok(CHECK, format!("{} alive, {running} of {slots} slots busy", workers.len()))
}

/// A queue that has work and nobody who does it.
fn unserved(queue: &QueueInfo) -> Option<Finding> {
    let work = queue.length + queue.running + queue.parked_requests + queue.limited;
    if work + queue.scheduled == 0 || queue.workers > 0 {
        return None;
    }
    let name = &queue.queue;
    let what = format!(
        "no worker listens on {name}, where {} wait, {} are held and {} are scheduled",
        queue.length + queue.parked_requests + queue.limited,
        queue.running,
        queue.scheduled
    );
    let cure = format!("Start a worker that has `{name}` among its `worker.queues`.");
    Some(Finding::new(CHECK, Level::Problem, what, "They stay where they are.", cure))
}

fn versions(workers: &[WorkerInfo]) -> Finding {
    const CHECK: &str = "versions";
    let found: BTreeSet<&str> = workers.iter().map(|worker| worker.version.as_str()).collect();
    let found: Vec<String> = found.into_iter().map(|version| line(version, 40)).collect();
    if let [one] = found.as_slice() {
        return Finding::ok(CHECK, format!("all workers are of version {one}"));
    }
    let what = format!("workers of different versions: {}", listed(&found));
    let means = "During a deployment that is normal; else some of them were forgotten.";
    let cure = "`redcall workers --json` says which is which; restart the old ones.";
    Finding::new(CHECK, Level::Warning, what, means, cure)
}

/// Names of these settings that nobody maps.
fn unmapped(workers: &[WorkerInfo], settings: &Settings) -> Finding {
    const CHECK: &str = "names";
    let mapped: BTreeSet<&String> = workers.iter().flat_map(|worker| &worker.jobs).collect();
    let missing = settings.jobs.keys().filter(|name| !mapped.contains(name));
    let missing: Vec<String> = missing.cloned().collect();
    if missing.is_empty() {
        return Finding::ok(CHECK, "live workers map every job of these settings");
    }
    let what = format!("no live worker maps {}", listed(&missing));
    let means = "Such a call ends with `unknown_job`.";
    let cure = "Have the workers read the settings again (SIGHUP), or restart them with this file.";
    Finding::new(CHECK, Level::Warning, what, means, cure)
}

/// Jobs that keep their slots although their time is over.
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
        return Finding::ok(CHECK, "every job has kept to its timeout");
    }
    let what = format!("jobs that ignore their timeout: {}", listed(&overdue));
    let means = "Their callers were told `timeout`, and each still takes a slot.";
    let cure = "Have their handlers heed `cancelled`, or restart those workers.";
    Finding::new(CHECK, Level::Warning, what, means, cure)
}

/// The first of them, and how many more there are.
pub(super) fn listed(all: &[String]) -> String {
    let mut text = all.iter().take(EXAMPLES).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > EXAMPLES {
        text.push_str(&format!(" and {} more", all.len() - EXAMPLES));
    }
    text
}
