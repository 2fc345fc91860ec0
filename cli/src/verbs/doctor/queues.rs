//! Jobs that wait for long, jobs held by dead workers, and dead letters.

use std::time::Duration;

use redcall_client::{Inspector, Listing, QueueInfo, Settings, StoreError};
use redcall_common::finding::{Finding, Level};
use redcall_common::time::millis;
use tokio::time::{Instant, sleep_until};

use super::failed::with_causes;
use super::workers::listed;
use crate::output::{line, time};
use crate::verbs::queues::list::INCOMPLETE;

/// Age of the oldest job at which a queue counts as lagging, ms.
const OLD_MS: u64 = 60_000;
/// Percent of a limit at which a queue, or its dead letters, count as filling.
const FILLING: u64 = 80;
/// Time between both reads of a queue whose oldest job has an unknown age.
const BETWEEN: Duration = Duration::from_secs(1);

/// Reports the number of queues, and whether the listing is complete.
pub(super) fn found(listing: &Listing) -> Finding {
    const CHECK: &str = "queues";
    let what = match listing.queues.len() {
        0 => "no queue has been used yet".to_owned(),
        count => format!("{count} in use"),
    };
    if listing.is_complete {
        return Finding::ok(CHECK, what);
    }
    Finding::note(CHECK, what, INCOMPLETE)
}

/// Reports queues that cannot be read.
pub(super) fn unreadable(listing: &Listing) -> impl Iterator<Item = Finding> {
    listing.unreadable.iter().map(|(queue, error)| {
        let what = format!("{} cannot be read: {}", line(queue, 64), with_causes(error));
        let means = "One of its keys has a foreign type, or a right is missing: its jobs are \
                     neither run nor listed.";
        let cure = "Check the types of its keys (SCAN, TYPE), and DEL or rename the foreign one.";
        Finding::new("queues", Level::Problem, what, means, cure)
    })
}

/// The queues whose oldest job has an unknown age, with that job.
pub(super) struct Heads {
    at: Instant,
    queues: Vec<QueueInfo>,
    heads: Vec<Option<Vec<u8>>>,
}

impl Heads {
    /// Reads for the first time.
    pub(super) async fn of(
        inspector: &Inspector,
        queues: &[QueueInfo],
    ) -> Result<Self, StoreError> {
        let of_unknown_age = queues.iter().filter(|queue| queue.has_unknown_age());
        let queues: Vec<QueueInfo> = of_unknown_age.cloned().collect();
        let heads = heads(inspector, &queues).await?;
        Ok(Self { at: Instant::now(), queues, heads })
    }

    /// Reads again after at least a second, and reports whether a job was taken in the meantime.
    pub(super) async fn reread(self, inspector: &Inspector) -> Result<Vec<Finding>, StoreError> {
        if self.queues.is_empty() {
            return Ok(Vec::new());
        }
        sleep_until(self.at + BETWEEN).await;
        let waited = time(millis(self.at.elapsed()));
        let now = heads(inspector, &self.queues).await?;
        let (mut moving, mut stalled_queues) = (Vec::new(), Vec::new());
        for ((queue, then), now) in self.queues.into_iter().zip(self.heads).zip(now) {
            let text = format!("{} on {}", queue.length, queue.queue);
            let has_moved = then.is_none() || now != then;
            // A paused queue does not move; `paused` reports it.
            if has_moved || queue.paused { &mut moving } else { &mut stalled_queues }.push(text);
        }
        Ok([of_unknown_age(&moving), stalled(&stalled_queues, &waited)]
            .into_iter()
            .flatten()
            .collect())
    }
}

async fn heads(
    inspector: &Inspector,
    queues: &[QueueInfo],
) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
    let names: Vec<&str> = queues.iter().map(|queue| &*queue.queue).collect();
    inspector.heads(&names).await
}

fn of_unknown_age(moving: &[String]) -> Option<Finding> {
    if moving.is_empty() {
        return None;
    }
    let what = format!("jobs of unknown age wait: {}", listed(moving));
    let means = "Their requests have no `enqueued_at`. Have the client write it (Redis TIME, in \
                 ms) to see their age.";
    Some(Finding::note("oldest", what, means))
}

fn stalled(stalled_queues: &[String], waited: &str) -> Option<Finding> {
    if stalled_queues.is_empty() {
        return None;
    }
    let what = format!(
        "jobs of unknown age wait, and none was taken within {waited}: {}",
        listed(stalled_queues)
    );
    let means = "No worker takes them, or all workers are busy. Their age is unknown, since their \
                     requests have no `enqueued_at`.";
    let cure = "Start workers that listen there, or raise `worker.concurrency`; have the client \
                write `enqueued_at` (Redis TIME, in ms).";
    Some(Finding::new("oldest", Level::Warning, what, means, cure))
}

/// Checks every queue in use.
pub(super) fn check(queues: &[QueueInfo], settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![oldest(queues), paused(queues), dead(queues, settings)];
    findings.extend(queues.iter().filter_map(|queue| full(queue, settings)));
    findings
}

fn oldest(queues: &[QueueInfo]) -> Finding {
    const CHECK: &str = "oldest";
    let age = |queue: &QueueInfo| Some((queue.oldest_ms?, queue.queue.clone()));
    let mut ages: Vec<(u64, String)> = queues.iter().filter_map(age).collect();
    ages.sort_unstable_by(|one, other| other.cmp(one));
    let text: Vec<String> =
        ages.iter().map(|(age, queue)| format!("{} on {queue}", time(*age))).collect();
    let is_unknown = queues.iter().any(QueueInfo::has_unknown_age);
    match ages.first() {
        // Queues of unknown age have a finding of their own.
        None if is_unknown => {
            Finding::note(CHECK, "unknown", "No waiting job has its time of enqueue.")
        }
        None => Finding::ok(CHECK, "no job waits"),
        Some((age, _)) if *age < OLD_MS => {
            Finding::ok(CHECK, format!("the oldest job has waited for {}", listed(&text)))
        }
        Some(_) => {
            let what = format!("the oldest job has waited for {}", listed(&text));
            let means =
                "Jobs arrive faster than they are done, or the first ones are not run at all.";
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
        return Finding::ok(CHECK, "no queue is paused");
    }
    let means = "No job starts there until `redcall resume`.";
    Finding::note(CHECK, listed(&paused), means)
}

fn dead(queues: &[QueueInfo], settings: &Settings) -> Finding {
    const CHECK: &str = "dead";
    let with = queues.iter().filter(|queue| queue.dead > 0);
    let text: Vec<String> =
        with.clone().map(|queue| format!("{} on {}", queue.dead, queue.queue)).collect();
    if text.is_empty() {
        return Finding::ok(CHECK, "no dead letters");
    }
    let what = format!("dead letters: {}", listed(&text));
    let max = settings.dead.max;
    if with.clone().any(|queue| is_filling(queue.dead, max)) {
        let means =
            format!("At most {max} per queue are kept (`dead.max`); the oldest are trimmed.");
        let cure = "List them (`redcall dead list`), then retry or purge them.";
        return Finding::new(CHECK, Level::Warning, what, means, cure);
    }
    Finding::note(CHECK, what, "`redcall dead list` shows the jobs that failed for good.")
}

fn full(queue: &QueueInfo, settings: &Settings) -> Option<Finding> {
    let (name, max) = (&queue.queue, settings.max_length(&queue.queue));
    let held = queue.held();
    if max == 0 || !is_filling(held, max) {
        return None;
    }
    let what = format!("{name} holds {held} of {max} jobs");
    let means = "When it is full, callers get `overloaded`.";
    let cure = format!("Start more workers, or raise `queues.{name}.max_length`.");
    Some(Finding::new("full", Level::Warning, what, means, cure))
}

fn is_filling(held: u64, max: u64) -> bool {
    held.saturating_mul(100) >= max.saturating_mul(FILLING)
}

/// Reports leases of workers that have been dead for more than two leases.
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
        return Ok(Finding::ok(CHECK, "no dead worker holds a lease"));
    }
    let text: Vec<String> = stuck
        .iter()
        .map(|stuck| {
            let worker = line(&stuck.worker, 64);
            let dead_for = millis(stuck.dead_for);
            format!("{} of {worker} on {}, dead for {}", stuck.held, stuck.queue, time(dead_for))
        })
        .collect();
    let what = format!("jobs held by dead workers: {}", listed(&text));
    let means = "No worker takes them over, so they are neither run nor answered.";
    let cure = "Start a worker that serves that queue; if one does, its log has the reason why it \
                cannot take over.";
    Ok(Finding::new(CHECK, Level::Problem, what, means, cure))
}
