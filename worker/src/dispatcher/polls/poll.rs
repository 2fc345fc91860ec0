//! One poll: settles outcomes and leases requests, over all queues, in one write.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redcall_store::{
    Connection, Leased, LimitRule, PollOps as _, PollReply, QueuePoll, StoreError,
};
use tokio::time::sleep;

use crate::causes::with_causes;
use crate::dispatcher::queue::Queue;
use crate::dispatcher::queue::part::Part;
use crate::time::REDIS_TIMEOUT;

/// Pause after a failed poll.
const PAUSE: Duration = Duration::from_millis(50);

/// A poll in flight.
pub(crate) type InFlightPoll = Pin<Box<dyn Future<Output = FinishedPoll>>>;

/// A poll that has ended.
pub(crate) struct FinishedPoll {
    pub(crate) parts: Vec<Part>,
    pub(crate) replies: Result<Vec<Result<Reply, StoreError>>, StoreError>,
}

/// A poll's reply for one part.
pub(crate) struct Reply {
    pub(crate) poll: PollReply,
    /// The leases before the poll, if they were read back.
    pub(crate) held: Option<Vec<Leased>>,
}

/// Plans the next poll; empty if there is nothing to do. `room` is the free capacity over all
/// queues, `rules` the names with limits. `poll_all`: poll each queue even if there is nothing to
/// do, to show that polls of it return.
///
/// Capacity goes to queues in priority order, to each but the last up to its known length: a script
/// cannot see how much another one leased. None goes to queues behind one whose lane has a backlog.
pub(crate) fn plan(
    queues: &mut [Queue],
    mut room: usize,
    rules: &Arc<[LimitRule]>,
    poll_all: bool,
) -> Vec<Part> {
    let last = queues.iter().rposition(Queue::may_have_work);
    let mut parts = Vec::new();
    for (index, queue) in queues.iter_mut().enumerate() {
        parts.extend(queue.next_part(&mut room, last == Some(index), rules, poll_all));
        if queue.lane_has_backlog() {
            room = 0;
        }
    }
    parts
}

/// Runs a poll. Must not be dropped before its end: its leases would be forgotten.
pub(crate) async fn run(link: Arc<Connection>, parts: Vec<Part>) -> FinishedPoll {
    let replies = replies(&link, &parts).await;
    match &replies {
        Ok(replies) => {
            for (part, reply) in parts.iter().zip(replies) {
                if let Err(error) = reply {
                    let queue = part.queue_name();
                    tracing::warn!(
                        error = %with_causes(&error),
                        queue,
                        "cannot poll a queue: retrying"
                    );
                }
            }
            if replies.iter().all(Result::is_err) {
                sleep(PAUSE).await;
            }
        }
        Err(error) => {
            tracing::warn!(
                error = %with_causes(&error),
                "retrying a failed poll with its settlements"
            );
            sleep(PAUSE).await;
        }
    }
    FinishedPoll { parts, replies }
}

async fn replies(
    link: &Connection,
    parts: &[Part],
) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
    // Before the poll, so that its new leases are not included.
    let mut held = Vec::with_capacity(parts.len());
    for part in parts {
        held.push(match part.reads_back() {
            Some(keys) => match link.held(keys, REDIS_TIMEOUT).await {
                Err(error) if error.is_transient() => return Err(error),
                held => held.map(Some),
            },
            None => Ok(None),
        });
    }
    let polls: Vec<QueuePoll<'_>> = parts.iter().map(Part::poll).collect();
    let replies = link.poll(&polls, REDIS_TIMEOUT).await?.into_iter().zip(held);
    Ok(replies.map(|(poll, held)| Ok(Reply { poll: poll?, held: held? })).collect())
}
