//! One poll: settles outcomes and leases requests, over all queues, in one write.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redcall_common::error::Code;
use redcall_common::limits::batch_len;
use redcall_store::{
    Connection, Leased, LimitRule, Outcome, PollOps as _, PollReply, QueuePoll, Settled,
    Settlement, StoreError, WorkerKeys,
};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::queue::{PendingSettlement, Queue, Resend};
use crate::causes::with_causes;
use crate::metrics::{JobMetrics, Metrics};
use crate::redis_timeout::REDIS_TIMEOUT;

/// Pause after a failed poll.
const PAUSE: Duration = Duration::from_millis(50);

/// Most requests that a poll leases from a queue, and most that it settles. While Redis executes
/// one batch, worker and callers handle the previous one: with a thousand at a time they would wait
/// for each other.
const BATCH_MAX: usize = 128;

/// One queue's part of a poll.
pub(crate) struct Part {
    pub(crate) queue: usize,
    keys: Arc<WorkerKeys>,
    take: usize,
    parked: Vec<String>,
    rules: Arc<[LimitRule]>,
    read_back: bool,
    more: bool,
    /// `true` if the poll asks for the queue's length; a blocked pop in flight reports it
    /// otherwise.
    length: bool,
    serial: u64,
    again: bool,
    outcomes: Vec<Outcome>,
    followed: Vec<Followed>,
}

/// The receiver of a settlement's result, and its metrics.
type Followed = (Option<oneshot::Sender<Settled>>, JobMetrics);

/// A poll in flight.
pub(crate) type InFlightPoll = Pin<Box<dyn Future<Output = FinishedPoll>>>;

/// Completes when the poll has ended; never, if there is none.
pub(crate) async fn end_of(poll: &mut Option<InFlightPoll>) -> FinishedPoll {
    match poll {
        Some(poll) => poll.await,
        None => std::future::pending().await,
    }
}

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
/// cannot see how much another one leased.
pub(crate) fn plan(
    queues: &mut [Queue],
    mut room: usize,
    rules: &Arc<[LimitRule]>,
    poll_all: bool,
) -> Vec<Part> {
    let last = queues.iter().rposition(Queue::may_have_work);
    let mut parts = Vec::new();
    for (index, queue) in queues.iter_mut().enumerate() {
        if queue.refused.is_some() {
            continue;
        }
        let take = match queue.length {
            _ if !queue.may_have_work() => 0,
            // The length does not include sorted requests.
            Some(length) if last != Some(index) && !queue.ready => {
                room.min(length + queue.parked.len())
            }
            _ => room,
        };
        let take = take.min(BATCH_MAX);
        room -= take;
        let read_back = queue.must_resync();
        if take == 0 && !queue.has_outcomes() && !read_back && !poll_all {
            continue;
        }
        let again = queue.resend.is_some();
        let Resend { serial, settlements } = queue.resend.take().unwrap_or_else(|| {
            queue.serial += 1;
            let settlements = queue.to_settle.iter().take(BATCH_MAX);
            let count = batch_len(settlements.map(|pending| pending.outcome.size()));
            Resend { serial: queue.serial, settlements: queue.to_settle.drain(..count).collect() }
        });
        let settlements = settlements.into_iter().map(|l| (l.outcome, (l.notify, l.job_metrics)));
        let (outcomes, followed) = settlements.unzip();
        if take > 0 {
            queue.poll_sent();
        }
        let parked = if take > 0 { std::mem::take(&mut queue.parked) } else { Vec::new() };
        parts.push(Part {
            queue: index,
            keys: queue.keys.clone(),
            take,
            parked,
            rules: queue.rules(rules).clone(),
            read_back,
            more: queue.more,
            length: !queue.popping || queue.length != Some(0),
            serial,
            again,
            outcomes,
            followed,
        });
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
                    let queue = part.keys.queue.name();
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
        held.push(match part.read_back {
            true => match link.held(&part.keys, REDIS_TIMEOUT).await {
                Err(error) if error.is_transient() => return Err(error),
                held => held.map(Some),
            },
            false => Ok(None),
        });
    }
    let polls = parts.iter().map(|part| QueuePoll {
        keys: &part.keys,
        take: part.take,
        parked: &part.parked,
        rules: &part.rules,
        outcomes: &part.outcomes,
        serial: part.serial,
        again: part.again,
        more: part.more,
        // Requests that a lost pop left there are found by reading back leases.
        inbox: part.leases(),
        length: part.length,
    });
    let polls: Vec<QueuePoll<'_>> = polls.collect();
    let replies = link.poll(&polls, REDIS_TIMEOUT).await?.into_iter().zip(held);
    Ok(replies.map(|(poll, held)| Ok(Reply { poll: poll?, held: held? })).collect())
}

impl Part {
    /// Takes the names whose parked requests the poll leased first.
    pub(crate) fn take_parked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.parked)
    }

    /// Returns `true` if the part leases, or looks for, requests; otherwise it only settles.
    pub(crate) fn leases(&self) -> bool {
        self.take > 0 || self.read_back || self.outcomes.is_empty()
    }

    /// Returns `true` if this poll settles `id`.
    pub(crate) fn settles(&self, id: &str) -> bool {
        self.outcomes.iter().any(|outcome| outcome.id == id)
    }

    /// Returns the part of a probe, which leases it, or settles it with `outcome`.
    pub(crate) fn of_probe(keys: Arc<WorkerKeys>, serial: u64, outcome: Option<Outcome>) -> Self {
        Self {
            // Not an index of the worker's queues: the probe removes its part before the replies
            // are read.
            queue: usize::MAX,
            keys,
            take: usize::from(outcome.is_none()),
            parked: Vec::new(),
            rules: Arc::from([]),
            read_back: false,
            more: false,
            length: true,
            serial,
            again: false,
            outcomes: outcome.into_iter().collect(),
            followed: Vec::new(),
        }
    }

    /// Notifies the waiting tasks, counts, and logs refusals. Returns the outcomes that Redis could
    /// not store.
    pub(crate) fn settled(
        self,
        settled: Vec<Settled>,
        metrics: &Metrics,
    ) -> Vec<PendingSettlement> {
        let mut failed = Vec::new();
        // By reference: an outcome is large, and few fail.
        let followed = self.outcomes.iter().zip(self.followed).zip(settled);
        for (index, ((outcome, (notify, job_metrics)), settled)) in followed.enumerate() {
            match settled {
                Settled::Yes => {
                    if let Settlement::Unknown { name, .. } = &outcome.settlement {
                        let (queue, code) = (self.keys.queue.name(), Code::UnknownJob);
                        let id = &outcome.id;
                        let message = "not run: no live worker handles the job";
                        tracing::warn!(id, name, queue, %code, "{message}");
                    }
                    metrics.settled(outcome, job_metrics);
                }
                Settled::Parked => {
                    tracing::info!(
                        id = outcome.id,
                        "parked a request for a worker that handles its job"
                    );
                }
                Settled::LeaseLost => {
                    metrics.refused(outcome, job_metrics);
                    tracing::warn!(id = outcome.id, "settled nothing: the lease was lost");
                }
                Settled::Failed => {
                    failed.push((index, notify, job_metrics));
                    continue;
                }
            }
            if let Some(notify) = notify {
                let _ = notify.send(settled);
            }
        }
        let mut outcomes = self.outcomes;
        // From the back: a removal then moves no outcome that is still needed.
        let unsettled = failed.into_iter().rev().map(|(index, notify, job_metrics)| {
            PendingSettlement { outcome: outcomes.swap_remove(index), notify, job_metrics }
        });
        let mut unsettled: Vec<_> = unsettled.collect();
        unsettled.reverse();
        unsettled
    }

    /// Undoes the plan: the next poll sends the same settlements under the same number.
    pub(crate) fn undo(self, queue: &mut Queue) {
        let settlements = self.outcomes.into_iter().zip(self.followed);
        let settlements = settlements.map(|(outcome, (notify, job_metrics))| PendingSettlement {
            outcome,
            notify,
            job_metrics,
        });
        let settlements: Vec<PendingSettlement> = settlements.collect();
        if !settlements.is_empty() {
            queue.resend = Some(Resend { serial: self.serial, settlements });
        }
        queue.parked.extend(self.parked);
        queue.mark_unsynced();
    }
}

#[cfg(test)]
mod tests {
    use redcall_common::keys::Keys;

    use super::*;

    #[test]
    fn outcome_is_counted_as_settled() {
        let keys = Arc::new(WorkerKeys::probe(&Keys::new("redcall").of("default"), "w"));
        let metrics = Metrics::new();
        for settled in [Settled::Yes, Settled::Parked, Settled::LeaseLost] {
            let outcome = Outcome::new("a", Settlement::Done);
            let mut part = Part::of_probe(keys.clone(), 1, Some(outcome));
            part.followed.push((None, JobMetrics { job: Some("add".to_owned()), ran: None }));
            assert!(part.settled(vec![settled], &metrics).is_empty());
        }
        let mut text = String::new();
        metrics.encode(&mut text).unwrap();
        let mut counted: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("redcall_jobs_total")).collect();
        counted.sort_unstable();
        let expected = [r#"{job="add",outcome="lost"} 1"#, r#"{job="add",outcome="ok"} 1"#];
        assert_eq!(counted, expected);
    }
}
