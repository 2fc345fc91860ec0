//! Saying that the worker lives, on every queue, and hearing who does not.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::error::{Code, WireError};
use redcall_common::event::{Kind, NewEvent};
use redcall_common::keys::Keys;
use redcall_common::result_kind::command_result;
use redcall_common::time::millis;
use redcall_store::inspect::{Overdue, WorkerInfo};
use redcall_store::rights::MissingRight;
use redcall_store::{
    Beat, EndedDeferred, Heartbeat, Link, Promoted, QueueState, Released, Rule, StoreError,
    WorkerKeys,
};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::queue::Queue;
use super::{WITHIN, repair};
use crate::failure::whole;
use crate::job::Shared;

/// By how much workers spread what all of them do at the same moment.
const MOST_JITTER_MS: u64 = 20;

/// Who this worker is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// New at every start: a fixed one would let a restarted worker be taken for its dead self.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) started_at: u64,
    /// The job names that it maps.
    pub(crate) names: Vec<String>,
}

/// What came back.
pub(crate) enum Told {
    /// One queue's heartbeat.
    Beat { queue: usize, heartbeat: Heartbeat },
    /// So many requests that a dead worker held lie at the head of the queue again.
    TakenOver { queue: usize, count: usize },
    /// A round over all queues has ended.
    RoundEnded,
    /// The state that control messages named; `None` if Redis could not be asked.
    Looked { queue: usize, state: Option<QueueState> },
    /// What was due has been moved to the queue, or Redis could not be asked.
    Promoted { queue: usize, promoted: Option<Promoted> },
    /// Which rights at Redis are missing, or Redis could not be asked.
    Rights(Result<Vec<MissingRight>, StoreError>),
    /// A probe lies where the next poll takes it from, or Redis could not be asked.
    ProbePut(Result<(), StoreError>),
}

/// What changes from one heartbeat to the next.
pub(crate) struct Status {
    pub(crate) state: &'static str,
    pub(crate) concurrency: usize,
    pub(crate) running: usize,
    pub(crate) overdue: Vec<Overdue>,
    pub(crate) lease: Duration,
    pub(crate) queues: Vec<String>,
}

impl Identity {
    /// What `redcall workers` shows.
    pub(crate) fn info(&self, status: Status) -> String {
        let info = WorkerInfo {
            id: self.id.clone(),
            name: self.name.clone(),
            host: self.host.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            state: status.state.to_owned(),
            queues: status.queues,
            jobs: self.names.clone(),
            concurrency: status.concurrency,
            running: status.running,
            overdue: status.overdue,
            lease_ms: millis(status.lease),
        };
        // Strings and numbers only: nothing here can fail to serialise.
        serde_json::to_string(&info).unwrap_or_default()
    }
}

/// A queue, and how its limited requests are sorted.
pub(crate) type Served = (Arc<WorkerKeys>, Arc<[Rule]>);

/// The queues of a worker for a round of heartbeats; `rules`: of those that are no service's.
pub(crate) fn served(queues: &[Queue], rules: &Arc<[Rule]>) -> Vec<Served> {
    let served = |queue: &Queue| (queue.keys.clone(), queue.rules(rules).clone());
    queues.iter().map(served).collect()
}

/// One heartbeat on each queue.
pub(crate) async fn round(
    link: &Link,
    queues: &[Served],
    identity: &Identity,
    lease: Duration,
    info: &str,
) -> Vec<Result<Heartbeat, StoreError>> {
    let mut heartbeats = Vec::with_capacity(queues.len());
    for (keys, _) in queues {
        let beat = Beat { worker: &identity.id, lease, info, names: &identity.names };
        // One that fails must not cost the others their leases.
        heartbeats.push(link.heartbeat(&keys.queue, &beat, WITHIN).await);
    }
    heartbeats
}

/// What follows a round: repairs, and the names of the queues. Not part of it, since the next round
/// must not wait for this where Redis is far away.
pub(crate) async fn follow_up(link: &Link, keys: &Keys, queues: &[Served], lease: Duration) {
    for (keys, rules) in queues {
        repair::repair(link, &keys.queue, rules, lease).await;
    }
    let names: Vec<&str> = queues.iter().map(|(keys, _)| keys.queue.name()).collect();
    if let Err(error) = link.note_queues(keys, &names, WITHIN).await {
        tracing::debug!(%error, "the queues' names could not be noted");
    }
}

/// Gives back what `dead` held, unless it turns out to live.
pub(crate) async fn take_over(
    link: Arc<Link>,
    keys: Arc<WorkerKeys>,
    queue: usize,
    dead: String,
    told: mpsc::UnboundedSender<Told>,
) {
    match link.release(&keys.queue, &dead, false, WITHIN).await {
        Ok(Released::Back(count)) => {
            tracing::warn!(worker = dead, queue = keys.queue.name(), count, "took over its jobs");
            let _ = told.send(Told::TakenOver { queue, count });
        }
        Ok(Released::StillAlive) => {}
        Err(error) => tracing::debug!(%error, "cannot take over yet; the next heartbeat tries"),
    }
}

/// Answers what was not settled in time, as far as one round goes: the next heartbeat goes on.
pub(crate) async fn expire(
    link: Arc<Link>,
    keys: Arc<WorkerKeys>,
    topic: String,
    shared: Arc<Shared>,
) {
    let expired = link.expire(&keys.queue, WITHIN).await;
    let (count, told) = match expired {
        Ok(expired) => expired,
        Err(error) => return tracing::debug!(%error, "cannot end yet what was not settled in time"),
    };
    if count > 0 {
        tracing::warn!(
            queue = keys.queue.name(),
            count,
            "deferred answers were not settled in time"
        );
    }
    let error = WireError::new(Code::DeadlineExceeded, "it was not settled in time");
    for EndedDeferred { id, name, nonce } in told {
        let about = (&*id, &*name, nonce.as_deref());
        let context = command_result(about, Err(&error), shared.limits.frame);
        let event = NewEvent::now(Kind::COMMAND_RESULT, &context);
        if let Err(error) = link.publish(&[(topic.as_str(), event)], shared.kept, WITHIN).await {
            let error = whole(&error);
            tracing::warn!(error, id, "what became of a command was not published");
        }
    }
}

/// Reads the state that control messages named: the queue's pause, and the cancelled of `ids`.
pub(crate) async fn look(
    link: Arc<Link>,
    keys: Arc<WorkerKeys>,
    queue: usize,
    ids: Vec<String>,
    told: mpsc::UnboundedSender<Told>,
) {
    let state = link.queue_state(&keys.queue, &ids, WITHIN).await;
    let state = state.inspect_err(|error| {
        tracing::debug!(%error, "cannot read what a message named; the next heartbeat does");
    });
    let _ = told.send(Told::Looked { queue, state: state.ok() });
}

/// Moves what is due on a queue, a moment later on each worker: one of them is enough.
pub(crate) async fn promote(
    link: Arc<Link>,
    keys: Arc<WorkerKeys>,
    queue: usize,
    told: mpsc::UnboundedSender<Told>,
) {
    sleep(Duration::from_millis(u64::from(std::process::id()) % MOST_JITTER_MS)).await;
    let promoted = link.promote(&keys.queue, WITHIN).await;
    let promoted = promoted.inspect_err(|error| tracing::debug!(%error, "cannot promote yet"));
    let _ = told.send(Told::Promoted { queue, promoted: promoted.ok() });
}
