//! Heartbeats: renew the worker's leases on every queue, and report dead workers.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::error::{Code, WireError};
use redcall_common::event::{Kind, NewEvent};
use redcall_common::keys::Keys;
use redcall_common::result_kind::command_result;
use redcall_common::time::millis;
use redcall_store::inspect::{Overdue, WorkerInfo};
use redcall_store::{
    Connection, EndedDeferred, Heartbeat, HeartbeatRequest, LimitRule, Released, SharedOps as _,
    StoreError, UpkeepOps as _, WorkerKeys,
};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::io_event::IoEvent;
use super::queue::Queue;
use super::repair;
use crate::causes::with_causes;
use crate::job::Shared;
use crate::redis_timeout::REDIS_TIMEOUT;

/// Longest jitter that spreads actions of all workers at the same moment.
const MAX_JITTER_MS: u64 = 20;

/// The identity of this worker.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// New at every start: with a fixed id, a restarted worker would look like its dead
    /// predecessor.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) started_at: u64,
    /// The job names that it maps.
    pub(crate) names: Vec<String>,
}

/// The variable part of a heartbeat.
pub(crate) struct Status {
    pub(crate) state: &'static str,
    pub(crate) concurrency: usize,
    pub(crate) running: usize,
    pub(crate) overdue: Vec<Overdue>,
    pub(crate) lease: Duration,
    pub(crate) queues: Vec<String>,
}

impl Identity {
    /// Returns the JSON that `redcall workers` shows.
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

/// A queue, and the rules that sort its requests.
pub(crate) type Served = (Arc<WorkerKeys>, Arc<[LimitRule]>);

/// Returns the queues of a round of heartbeats; `rules` apply to queues that are not a service's.
pub(crate) fn served(queues: &[Queue], rules: &Arc<[LimitRule]>) -> Vec<Served> {
    let served = |queue: &Queue| (queue.keys.clone(), queue.rules(rules).clone());
    queues.iter().map(served).collect()
}

/// Sends one heartbeat to each queue.
pub(crate) async fn round(
    link: &Connection,
    queues: &[Served],
    identity: &Identity,
    lease: Duration,
    info: &str,
) -> Vec<Result<Heartbeat, StoreError>> {
    let mut heartbeats = Vec::with_capacity(queues.len());
    for (keys, _) in queues {
        let beat = HeartbeatRequest { worker: &identity.id, lease, info, names: &identity.names };
        // A failure on one queue must not cost the others their leases.
        heartbeats.push(link.heartbeat(&keys.queue, &beat, REDIS_TIMEOUT).await);
    }
    heartbeats
}

/// The work after a round: repairs, and the names of the queues. Not part of the round: the next
/// one must not wait for it if Redis is slow.
pub(crate) async fn follow_up(link: &Connection, keys: &Keys, queues: &[Served], lease: Duration) {
    for (keys, rules) in queues {
        repair::repair(link, &keys.queue, rules, lease).await;
    }
    let names: Vec<&str> = queues.iter().map(|(keys, _)| keys.queue.name()).collect();
    if let Err(error) = link.note_queues(keys, &names, REDIS_TIMEOUT).await {
        tracing::debug!(%error, "cannot store the names of the queues");
    }
}

/// Returns the leases of `dead` to the queue, unless that worker is alive again.
pub(crate) async fn take_over(
    link: Arc<Connection>,
    keys: Arc<WorkerKeys>,
    queue: usize,
    dead: String,
    events: mpsc::UnboundedSender<IoEvent>,
) {
    match link.release(&keys.queue, &dead, false, REDIS_TIMEOUT).await {
        Ok(Released::Back(count)) => {
            tracing::warn!(
                worker = dead,
                queue = keys.queue.name(),
                count,
                "took over the jobs of a dead worker"
            );
            let _ = events.send(IoEvent::TakenOver { queue, count });
        }
        Ok(Released::StillAlive) => {}
        Err(error) => {
            tracing::debug!(%error, "cannot take over yet")
        }
    }
}

/// Answers deferred calls that were not settled in time; the next heartbeat continues.
pub(crate) async fn expire(
    link: Arc<Connection>,
    keys: Arc<WorkerKeys>,
    topic: String,
    shared: Arc<Shared>,
) {
    let expired = link.expire(&keys.queue, REDIS_TIMEOUT).await;
    let (count, announced) = match expired {
        Ok(expired) => expired,
        Err(error) => {
            return tracing::debug!(%error, "cannot end late deferred answers yet");
        }
    };
    if count > 0 {
        tracing::warn!(
            queue = keys.queue.name(),
            count,
            "ended deferred answers that were not settled in time"
        );
    }
    let error = WireError::new(Code::DeadlineExceeded, "it was not settled in time");
    for EndedDeferred { id, name, nonce } in announced {
        let about = (&*id, &*name, nonce.as_deref());
        let context = command_result(about, Err(&error), shared.limits.frame);
        let event = NewEvent::now(Kind::COMMAND_RESULT, &context);
        if let Err(error) =
            link.publish(&[(topic.as_str(), event)], shared.kept, REDIS_TIMEOUT).await
        {
            let error = with_causes(&error);
            tracing::warn!(error, id, "cannot publish the result of a command");
        }
    }
}

/// Reads the state that control messages named: the queue's pause, and which of `ids` are
/// cancelled.
pub(crate) async fn read_state(
    link: Arc<Connection>,
    keys: Arc<WorkerKeys>,
    queue: usize,
    ids: Vec<String>,
    events: mpsc::UnboundedSender<IoEvent>,
) {
    let state = link.queue_state(&keys.queue, &ids, REDIS_TIMEOUT).await;
    let state = state.inspect_err(|error| {
        tracing::debug!(%error, "cannot read the state that a message named");
    });
    let _ = events.send(IoEvent::StateRead { queue, state: state.ok() });
}

/// Moves due requests of a queue, after a random delay: one worker is enough.
pub(crate) async fn promote(
    link: Arc<Connection>,
    keys: Arc<WorkerKeys>,
    queue: usize,
    events: mpsc::UnboundedSender<IoEvent>,
) {
    sleep(Duration::from_millis(u64::from(std::process::id()) % MAX_JITTER_MS)).await;
    let promoted = link.promote(&keys.queue, REDIS_TIMEOUT).await;
    let promoted = promoted.inspect_err(|error| tracing::debug!(%error, "cannot promote yet"));
    let _ = events.send(IoEvent::Promoted { queue, promoted: promoted.ok() });
}
