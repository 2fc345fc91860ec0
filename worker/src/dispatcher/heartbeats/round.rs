//! One round of heartbeats, which renews the worker's leases on every queue, and the tasks that its
//! replies request.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::error::{Code, WireError};
use redcall_common::event::{Kind, NewEvent};
use redcall_common::keys::Keys;
use redcall_common::result_kind::command_result;
use redcall_store::{
    Connection, EndedDeferred, Heartbeat, HeartbeatRequest, LimitRule, Released, SharedOps as _,
    StoreError, UpkeepOps as _, WorkerKeys,
};
use tokio::sync::mpsc;

use super::repair;
use crate::causes::with_causes;
use crate::dispatcher::io_event::IoEvent;
use crate::dispatcher::queue::Queue;
use crate::identity::Identity;
use crate::run::job::Shared;
use crate::time::REDIS_TIMEOUT;

/// A queue, and the rules that partition its requests.
pub(crate) type Served = (Arc<WorkerKeys>, Arc<[LimitRule]>);

/// Returns the queues of the work after a round; `rules` apply to queues that are not a service's.
pub(crate) fn served(queues: &[Queue], rules: &Arc<[LimitRule]>) -> Vec<Served> {
    let served = |queue: &Queue| (queue.keys().clone(), queue.rules(rules).clone());
    queues.iter().map(served).collect()
}

/// Sends one heartbeat to each queue.
pub(crate) async fn round(
    link: &Connection,
    queues: &[Arc<WorkerKeys>],
    identity: &Identity,
    lease: Duration,
    info: &str,
) -> Vec<Result<Heartbeat, StoreError>> {
    let mut heartbeats = Vec::with_capacity(queues.len());
    for keys in queues {
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
    let error =
        WireError::new(Code::DeadlineExceeded, "the deferred answer was not settled in time");
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
