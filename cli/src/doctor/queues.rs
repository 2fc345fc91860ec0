//! What waits for long, what nobody takes over, what has died.

use redcall_client::{Inspector, QueueInfo, Settings, StoreError};
use redcall_common::finding::{Finding, Level};

use super::workers::listed;
use crate::output::{line, time};
use redcall_common::time::millis;

/// From when on a queue counts as behind.
const OLD_MS: u64 = 60_000;
/// Percent of what a queue, or its dead letters, may hold.
const FILLING: u64 = 80;

/// Looks at every queue in use.
pub(super) fn look(queues: &[QueueInfo], settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![oldest(queues), paused(queues), dead(queues, settings)];
    findings.extend(queues.iter().filter_map(|queue| full(queue, settings)));
    findings
}

fn oldest(queues: &[QueueInfo]) -> Finding {
    const CHECK: &str = "oldest";
    let age = |queue: &QueueInfo| Some((queue.oldest_ms?, queue.queue.clone()));
    let mut ages: Vec<(u64, String)> = queues.iter().filter_map(age).collect();
    ages.sort_unstable_by(|one, other| other.cmp(one));
    let said: Vec<String> =
        ages.iter().map(|(age, queue)| format!("{} on {queue}", time(*age))).collect();
    match ages.first() {
        None => Finding::ok(CHECK, "nothing waits whose age is known"),
        Some((age, _)) if *age < OLD_MS => {
            Finding::ok(CHECK, format!("the oldest job waits for {}", listed(&said)))
        }
        Some(_) => {
            let what = format!("the oldest job waits for {}", listed(&said));
            let means = "More comes than is done, or what comes first is not done at all.";
            let cure = "Start more workers or raise `worker.concurrency`; see `redcall workers`.";
            Finding::new(CHECK, Level::Warning, what, means, cure)
        }
    }
}

fn paused(queues: &[QueueInfo]) -> Finding {
    const CHECK: &str = "paused";
    let paused = queues.iter().filter(|queue| queue.paused).map(|queue| queue.queue.clone());
    let paused: Vec<String> = paused.collect();
    if paused.is_empty() {
        return Finding::ok(CHECK, "no queue is");
    }
    let means = "Nothing starts there until `redcall resume`.";
    Finding::note(CHECK, listed(&paused), means)
}

fn dead(queues: &[QueueInfo], settings: &Settings) -> Finding {
    const CHECK: &str = "dead";
    let with = queues.iter().filter(|queue| queue.dead > 0);
    let said: Vec<String> =
        with.clone().map(|queue| format!("{} on {}", queue.dead, queue.queue)).collect();
    if said.is_empty() {
        return Finding::ok(CHECK, "no dead letters");
    }
    let what = format!("dead letters: {}", listed(&said));
    let most = settings.dead.max;
    if with.clone().any(|queue| is_filling(queue.dead, most)) {
        let means = format!("At most {most} a queue are kept (`dead.max`); the oldest go.");
        let cure = "Look at them (`redcall dead list`), then retry or purge them.";
        return Finding::new(CHECK, Level::Warning, what, means, cure);
    }
    Finding::note(CHECK, what, "`redcall dead list` says what could not be run or answered.")
}

fn full(queue: &QueueInfo, settings: &Settings) -> Option<Finding> {
    let (name, most) = (&queue.queue, settings.max_length(&queue.queue));
    let held = queue.held();
    if most == 0 || !is_filling(held, most) {
        return None;
    }
    let what = format!("{name} holds {held} of {most} jobs");
    let means = "When it is full, callers get `overloaded`.";
    let cure = format!("Start more workers, or raise `queues.{name}.max_length`.");
    Some(Finding::new("full", Level::Warning, what, means, cure))
}

fn is_filling(held: u64, most: u64) -> bool {
    held.saturating_mul(100) >= most.saturating_mul(FILLING)
}

/// Leases of workers that have been dead for more than two leases.
pub(super) async fn leases(
    inspector: &Inspector,
    queues: &[QueueInfo],
    settings: &Settings,
) -> Result<Finding, StoreError> {
    const CHECK: &str = "leases";
    let mut stuck = Vec::new();
    for queue in queues.iter().filter(|queue| queue.running > 0) {
        stuck.extend(inspector.stuck(&queue.queue, settings.worker.lease * 2).await?);
    }
    if stuck.is_empty() {
        return Ok(Finding::ok(CHECK, "no dead worker holds any"));
    }
    let said: Vec<String> = stuck
        .iter()
        .map(|stuck| {
            let worker = line(&stuck.worker, 64);
            let dead_for = millis(stuck.dead_for);
            format!("{} of {worker} on {}, dead for {}", stuck.held, stuck.queue, time(dead_for))
        })
        .collect();
    let what = format!("jobs held by dead workers: {}", listed(&said));
    let means = "Nobody takes them over, so they are neither run nor answered.";
    let cure = "Start a worker that listens on that queue; if one does, its log says what keeps \
                it from taking over.";
    Ok(Finding::new(CHECK, Level::Problem, what, means, cure))
}
